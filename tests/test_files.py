import os
from pathlib import Path

import pytest

from fedgin.files import whole_file, write_text


def test_a_failed_replacement_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as part:
            part.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_then_name_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses power after a rename may otherwise come back with an empty file under the name."""
    path, flushed = tmp_path / "checkpoint", []

    def note(descriptor: int) -> None:
        named = {each.stat().st_ino: each for each in (tmp_path, path, *tmp_path.glob(".part-*")) if each.exists()}
        flushed.append((named[os.fstat(descriptor).st_ino], path.exists() and path.read_text()))

    monkeypatch.setattr(os, "fsync", note)
    path.write_text("old")
    with whole_file(path) as part:
        part.write_text("new")
    assert flushed == [(part, "old"), (tmp_path, "new")]


def test_text_makes_its_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "ä")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "ä"
