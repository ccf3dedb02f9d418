import stat
from pathlib import Path

import pytest

from fedgin.data.dicom.pseudonyms import KEY_FILE, Pseudonyms, open_pseudonyms, write_private
from fedgin.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_key_and_folder_are_for_the_owner_only(tmp_path: Path) -> None:
    open_pseudonyms(tmp_path / "private")
    assert (mode(tmp_path / "private"), mode(tmp_path / "private" / KEY_FILE)) == (0o700, 0o600)


def test_names_are_the_same_in_every_run_and_differ_between_sites(tmp_path: Path) -> None:
    first, again, other = (open_pseudonyms(tmp_path / folder) for folder in ("a", "a", "b"))
    assert first.patient("4711") == again.patient("4711")
    assert first.patient("4711") != other.patient("4711")
    assert len({first.patient("4711"), first.patient("4712"), first.series("4711")}) == 3


def test_names_are_known_by_value() -> None:
    names = Pseudonyms(bytes(32))
    assert (names.patient("4711"), names.series("1.2.3")) == ("pe2896dcf5d40a879", "s4792cd3918f6bba1")


def test_an_open_key_is_refused(tmp_path: Path) -> None:
    open_pseudonyms(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_pseudonyms(tmp_path)


@pytest.mark.parametrize("text", ["", "zz", "abcd"])
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path, text: str) -> None:
    write_private(tmp_path / KEY_FILE, text)
    with pytest.raises(ConfigError, match="damaged"):
        open_pseudonyms(tmp_path)
    assert (tmp_path / KEY_FILE).read_text() == text


def test_a_private_file_stays_private_when_it_is_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_private(tmp_path / "file", text)
    assert (mode(tmp_path / "file"), (tmp_path / "file").read_text()) == (0o600, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
