from pathlib import Path

import pytest

from fedgin.folders import FolderError, folder_to_itself
from poc.rehearse import main


def test_a_second_rehearsal_is_refused_while_the_first_one_works(tmp_path: Path) -> None:
    out = tmp_path / "poc"
    with folder_to_itself(out, "a rehearsal"), pytest.raises(FolderError, match="another fedgin works in"):
        main(out=out)
    assert [path.name for path in out.iterdir()] == [".fedgin.json"]
