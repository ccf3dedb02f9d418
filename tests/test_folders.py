"""No verb removes what it did not write, and a reader sees a whole folder or none."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgin.folders import (
    MARK,
    FolderError,
    check_writable,
    claimed_folder,
    emptied_folder,
    folder_to_itself,
    mark_as,
    own_folder,
    read_mark,
    reserved,
    whole_folder,
)
from tests.modes import bound_by_modes

NAMES = st.sets(
    st.lists(st.sampled_from(["a", "b", ".hidden", "report.html", "sub"]), min_size=1, max_size=3).map("/".join),
    max_size=5,
)


def content(folder: Path) -> dict[str, str]:
    """Return the text of each file but the mark."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in sorted(files.items()) if name != MARK}


def fill(folder: Path, files: set[str], text: str) -> dict[str, str]:
    """Write files, and return those that could be: a name may be a folder already, or lie below a file."""
    for name in sorted(files, key=len, reverse=True):
        path = folder / name
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return {name: text for name in files if (folder / name).is_file()}


def write(folder: Path, files: set[str], text: str, *, overwrite: bool = False, holds: str = "job 1") -> None:
    with whole_folder(folder, holds=holds, overwrite=overwrite) as part:
        fill(part, files, text)


WAYS: list[Callable[[Path], object]] = [
    lambda folder: write(folder, {"a"}, "new", overwrite=True),
    lambda folder: emptied_folder(folder, "a simulation"),
    lambda folder: claimed_folder(folder, "a study"),
    lambda folder: check_writable(folder, overwrite=True),
    lambda folder: reserved(folder, overwrite=True).__enter__(),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["a file", "a link", "a dangling link", "a folder", "below a file", "a forged mark"])
def test_what_is_somebody_elses_is_refused_and_stays(tmp_path: Path, way: Callable[[Path], object], kind: str) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    if kind == "a file":
        folder.write_text("mine")
    elif "link" in kind:
        folder.symlink_to(other if kind == "a link" else tmp_path / "nowhere")
    elif kind == "below a file":
        folder = other / "thesis.tex" / "out"
    else:
        folder.mkdir()
        (folder / ".hidden").write_text("mine")
        if kind == "a forged mark":
            (folder / MARK).symlink_to(other / "thesis.tex")
    before = sorted((str(path), path.read_text() if path.is_file() else "") for path in tmp_path.rglob("*"))
    with pytest.raises(FolderError) as caught:
        way(folder)
    assert str(folder) in caught.value.problem
    assert sorted((str(path), path.read_text() if path.is_file() else "") for path in tmp_path.rglob("*")) == before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=NAMES, theirs=NAMES, second=NAMES)
def test_of_an_earlier_result_only_our_files_go(
    tmp_path_factory: pytest.TempPathFactory, first: set[str], theirs: set[str], second: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("one") / "out"
    write(folder, first, "first")
    wrote = set(content(folder))
    mine = fill(folder, {name for name in theirs if name not in wrote}, "mine")
    write(folder, second, "second", overwrite=True)
    found = content(folder)
    assert "first" not in found.values()
    assert sorted(found.values()).count("mine") == len(mine), "each of their files is still there"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_a_writer_that_fails_leaves_the_earlier_result(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")

    def fail() -> None:
        with whole_folder(folder, holds="job 1", overwrite=True) as part:
            (part / "b").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert content(folder) == {"a": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_new_folder_is_whole_before_the_earlier_one_goes(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")
    with whole_folder(folder, holds="job 2", overwrite=True) as part:
        (part / "b").write_text("second")
        assert content(folder) == {"a": "first"}
    assert content(folder) == {"b": "second"}


def test_the_same_result_is_replaced_and_another_only_when_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")
    write(folder, {"a"}, "again")
    with pytest.raises(FolderError, match=r"out holds job 1\. Fix: choose another folder, or .*--overwrite"):
        write(folder, {"a"}, "other", holds="job 2")
    assert content(folder) == {"a": "again"}
    write(folder, {"a"}, "other", holds="job 2", overwrite=True)
    assert content(folder) == {"a": "other"}


class Killed(BaseException):
    """What is not caught, as a kill is not; what the writer would have done afterwards is not done."""


@pytest.mark.parametrize("step", ["second rename", "carrying over", "deleting"])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")
    (folder / "theirs").write_text("of somebody else")

    dead = False

    def rename(path: Path, target: Path) -> Path:
        nonlocal dead
        dead |= step == "second rename" and path.name.startswith(".part-")
        dead |= step == "carrying over" and path.name == "theirs"
        if dead:
            raise Killed
        os.rename(path, target)
        return target

    def delete(path: Path, **_: object) -> None:
        if step == "deleting" and path.name.startswith(".before-"):
            (path / MARK).unlink()  # files go in any order
            raise Killed

    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", rename)
        killed.setattr("shutil.rmtree", delete)
        with pytest.raises(Killed):
            write(folder, {"b"}, "second", holds="job 1")
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".before-")]
    assert len(left) == 1
    check_writable(folder, holds="job 1")
    assert content(folder)["theirs"] == "of somebody else"
    assert ("a" in content(folder)) == (step == "second rename")
    write(folder, {"c"}, "third", holds="job 1")
    assert content(folder) == {"c": "third", "theirs": "of somebody else"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_between_the_renames_leaves_the_earlier_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")
    renamed: list[Path] = []

    def rename(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        os.rename(path, target)
        return target

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            write(folder, {"b"}, "second")
    assert content(folder) == {"a": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_program_works_in_is_not_replaced_as_a_result(tmp_path: Path) -> None:
    claimed_folder(tmp_path / "out", "a training")
    (tmp_path / "out" / "model.pt").write_text("of days")
    with pytest.raises(FolderError, match=r"out is the folder of a training\. Fix: choose another folder"):
        write(tmp_path / "out", {"a"}, "result", overwrite=True)
    assert content(tmp_path / "out") == {"model.pt": "of days"}


def test_a_folder_in_the_middle_of_being_replaced_is_left_to_its_writer(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, {"a"}, "first")
    with whole_folder(folder, holds="job 1") as part:
        aside = part.with_name(part.name.replace(".part-", ".before-"))
        folder.rename(aside)
        check_writable(folder)
        assert not folder.exists()
        aside.rename(folder)
    # A folder whose name ends like what another one leaves is no part of it.
    write(tmp_path / "out-before", {"a"}, "mine")
    write(folder, {"b"}, "second")
    assert content(tmp_path / "out-before") == {"a": "mine"}


def test_a_file_that_we_write_later_is_ours_too(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with whole_folder(folder, holds="job 1", also=["report.html"]):
        pass
    (folder / "report.html").write_text("of the first job")
    write(folder, set(), "", overwrite=True)
    assert content(folder) == {}


def test_a_second_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "job"
    for name in ("job", "job-2", "job-3"):
        assert own_folder(wanted).name == name
        write(own_folder(wanted), {"a"}, name, holds=name)
    assert own_folder(wanted, holds="job-2").name == "job-2"
    (tmp_path / "runs" / "job-4").symlink_to(tmp_path)
    (tmp_path / "runs" / "job-5").mkdir(mode=0o000)
    with bound_by_modes():
        assert own_folder(wanted).name == "job-6"


def test_a_reservation_without_a_result_leaves_nothing(tmp_path: Path) -> None:
    given, made = tmp_path / "given", tmp_path / "made"
    given.mkdir()
    for folder in (given, made):
        with reserved(folder):
            assert (folder / MARK).is_file()
    assert list(given.iterdir()) == []
    assert not made.exists()


def test_a_reserved_folder_is_free_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with reserved(folder):
        assert own_folder(folder).name == "out-2"
        with pytest.raises(FolderError):
            reserved(folder).__enter__()
        mark_as(folder, "job 7")
    with pytest.raises(FolderError, match="out holds job 7"):
        check_writable(folder)
    with reserved(folder, holds="job 7"):
        write(folder, {"a"}, "done", holds="job 7")
    assert content(folder) == {"a": "done"}


def test_what_killed_writers_left_is_taken_over_and_cleared(tmp_path: Path) -> None:
    """The lock of a mark ends with its process, so a mark without it is a leftover."""
    code = (
        "import os, pathlib, fedgin.folders as f\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        "with f.reserved(root / 'reserved'), f.whole_folder(root / 'out', holds='x'):\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list(tmp_path.glob(".part-*"))) == 1
    check_writable(tmp_path / "reserved")
    write(tmp_path / "out", {"a"}, "whole")
    assert list(tmp_path.glob(".part-*")) == []


def test_a_folder_worked_in_is_emptied_continued_and_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with folder_to_itself(folder, "a study"):
        (folder / "arm").mkdir()
        with pytest.raises(FolderError, match="another fedgin works in"):
            folder_to_itself(folder, "a study").__enter__()
    assert (claimed_folder(folder, "a study") / "arm").is_dir()
    with pytest.raises(FolderError, match="holds a study"):
        emptied_folder(folder, "a simulation")
    assert [path.name for path in emptied_folder(folder, "a study").iterdir()] == [MARK]


def test_the_current_folder_and_one_without_rights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FolderError, match="is the current folder"):
        check_writable(Path())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FolderError, match="nothing may be made in"):
        check_writable(tmp_path / "out")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("below", ["", "out"])
def test_a_folder_that_nobody_may_look_into_is_refused_by_name(
    tmp_path: Path, way: Callable[[Path], object], below: str
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with bound_by_modes():
        assert read_mark(closed) is None
        with pytest.raises(FolderError) as caught:
            way(closed / below)
    closed.chmod(0o700)
    assert str(closed) in caught.value.problem
    assert list(tmp_path.rglob("*")) == [closed]
