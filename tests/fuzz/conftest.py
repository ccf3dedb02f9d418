from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.mutations import CANARY


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder and fail when a payload has left its file there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob(CANARY))
