"""Folders that this program writes: marked as its own, whole before an earlier one goes, nobody else's ever touched.

A mark is a file in the folder. It says what the folder holds, and which files were written there. A folder that holds
anything and has no mark is somebody else's: every function here refuses it, and so does a link or a file of that name.
"""

import contextlib
import glob
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from fedgin.config import Settings
from fedgin.errors import FedginError
from fedgin.files import flush, locked, write_text

MARK = ".fedgin.json"
# Before the names of a folder that is not whole yet, and of one that is being replaced.
PART, BEFORE = ".part-", ".before-"


class FolderError(FedginError):
    """A folder cannot be written without touching what is not ours to touch."""

    code = "FG-011"


class Mark(Settings):
    """What a folder of ours is.

    Attributes:
        holds: in a word or two, such as ``job 368b8811``; empty while it is only reserved.
        files: that were written, by their path in the folder, with slashes. ``None``: all of it is ours.
    """

    holds: str = ""
    files: tuple[str, ...] | None = ()


def read_mark(folder: Path) -> Mark | None:
    """Return a folder's mark, or nothing when it has none of ours, or nobody may look into it."""
    path = folder / MARK
    try:
        if path.is_symlink() or not path.is_file():
            return None
        return Mark.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def check_writable(folder: Path, *, holds: str = "", overwrite: bool = False) -> None:
    """Refuse a folder that could not be written later; call it before the work starts.

    Args:
        folder: to be made. One that is empty, or that a killed process had only reserved, is as good as none.
        holds: what it will hold; an earlier copy of just that may be replaced.
        overwrite: whether any folder of ours may be replaced.

    Raises:
        FolderError: it is a file, a link, somebody else's folder, the current folder, or holds an earlier result.
    """
    _recover(folder)
    if folder.resolve() == Path.cwd():
        raise FolderError(f"{folder} is the current folder", "give a folder in it, which will be made")
    mark = read_mark(folder)
    if not overwrite or mark is None:
        _check(folder, holds, "choose another folder, or replace this one: --overwrite")
    elif mark.files is None and mark.holds != holds:
        # What of it may go nobody has written down.
        raise FolderError(f"{folder} is the folder of {mark.holds}", "choose another folder")


def _check(folder: Path, holds: str, fix: str = "choose another folder") -> None:
    with _refusals(folder):
        _check_place(folder)
        if not folder.is_dir() or _is_vacant(folder):
            return
    mark = read_mark(folder)
    if mark is None:
        raise FolderError(f"{folder} holds files that fedgin did not write", "choose another folder")
    if not (holds and mark.holds == holds):
        raise FolderError(f"{folder} holds {mark.holds or 'what another fedgin is about to write'}", fix)


def own_folder(wanted: Path, *, holds: str = "") -> Path:
    """Return ``wanted``, or the first of ``wanted-2``, ``wanted-3``, ... that is free.

    Args:
        wanted: the name by default.
        holds: a folder with this content already is taken before a free one.
    """
    tried: list[Path] = []
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        tried.append(folder)
        if _may_be_made(folder):
            break
    return next((folder for folder in tried if holds and _holds(folder, holds)), tried[-1])


@contextlib.contextmanager
def reserved(folder: Path, *, holds: str = "", overwrite: bool = False) -> Iterator[None]:
    """Keep a folder for this process, before there is anything to write.

    It is made and marked, unless it is there already. At the end it is as before, when nothing came into it and
    :func:`mark_as` did not say what it is for.

    Raises:
        FolderError: as :func:`check_writable`; or another process has reserved it.
    """
    check_writable(folder, holds=holds, overwrite=overwrite)
    made = not folder.exists()
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with alone(folder):
            if not (folder / MARK).stat().st_size:
                # In place: a file that takes its place would not be the locked one.
                (folder / MARK).write_text(_mark_text(Mark()), "utf-8")
            yield
    finally:
        if read_mark(folder) == Mark() and _is_vacant(folder):
            (folder / MARK).unlink()
            if made:
                folder.rmdir()


def mark_as(folder: Path, holds: str) -> None:
    """Say what a reserved folder is for; one that still holds an earlier result stays marked as that."""
    if read_mark(folder) == Mark():
        _mark(folder, Mark(holds=holds))


@contextlib.contextmanager
def whole_folder(folder: Path, *, holds: str, overwrite: bool = False, also: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that takes its place on success.

    A reader sees the earlier folder or the whole new one; a writer that fails leaves things as they were. Of the
    earlier folder only the files go that we wrote: what somebody else put there is carried over.

    Args:
        folder: made, with its parents; replaced as :func:`check_writable` allows.
        holds: what the new one is; written into its mark.
        overwrite: whether any folder of ours may be replaced.
        also: files that the caller writes later.

    Raises:
        FolderError: as :func:`check_writable`.
    """
    check_writable(folder, holds=holds, overwrite=overwrite)
    with _refusals(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    part = folder.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{folder.name}")
    part.mkdir()
    try:
        with locked(part / MARK):
            yield part
            written = sorted(path.relative_to(part).as_posix() for path in _files(part))
            # In place: a file that takes its place would not be the locked one.
            (part / MARK).write_text(_mark_text(Mark(holds=holds, files=tuple(written) + tuple(also))), "utf-8")
            for path in (*_files(part), part / MARK, part):
                flush(path)
            _replace(folder, part)
            flush(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def claimed_folder(folder: Path, holds: str) -> Path:
    """Make and mark a folder that this program works in and continues; all that is in it is ours.

    Raises:
        FolderError: it is a file, a link, somebody else's folder, or holds something else of ours.
    """
    _check(folder, holds)
    wanted = Mark(holds=holds, files=None)
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if read_mark(folder) != wanted:
            _mark(folder, wanted)
    return folder


def made_folder(folder: Path) -> Path:
    """Make a folder, where it is missing, for files that are written beside whatever is in it.

    Raises:
        FolderError: it is a file or a link, or nothing can be written there.
    """
    _check_place(folder)
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FolderError(f"{folder} cannot be written", "give another folder")
    return folder


def emptied_folder(folder: Path, holds: str) -> Path:
    """Do as :func:`claimed_folder`, and empty it."""
    claimed_folder(folder, holds)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
    return folder


@contextlib.contextmanager
def folder_to_itself(folder: Path, holds: str) -> Iterator[None]:
    """Do as :func:`claimed_folder`, and keep every other process out of it.

    Raises:
        FolderError: as there; or another process works in it.
    """
    with alone(claimed_folder(folder, holds)):
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other process out of a folder of ours.

    Raises:
        FolderError: another process works in it, or nothing may be written there.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / MARK, wait=False))
        except BlockingIOError:
            raise FolderError(
                f"another fedgin works in {folder}", "wait for it or stop it, or choose another folder"
            ) from None
        except OSError as error:
            raise FolderError(
                f"{folder / MARK} cannot be opened: {error.strerror}", "work as the owner of the folder"
            ) from None
        yield


def _check_place(folder: Path) -> None:
    if folder.is_symlink():
        raise FolderError(f"{folder} is a link", "give the folder itself, or another name")
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder} is a file", "give a folder")
    above = next(part for part in folder.absolute().parents if os.path.lexists(part))
    if not above.is_dir():
        raise FolderError(f"{folder} cannot be made: {above} is no folder", "give another one")
    if not os.access(above, os.W_OK | os.X_OK):
        raise FolderError(f"{folder} cannot be written: nothing may be made in {above}", "give another one")


def _may_be_made(folder: Path) -> bool:
    """Tell whether there is nothing of this name, or a folder that is as good as none."""
    try:
        return not os.path.lexists(folder) or (folder.is_dir() and not folder.is_symlink() and _is_vacant(folder))
    except OSError:  # nobody may look into it
        return False


def _is_vacant(folder: Path) -> bool:
    """Tell whether a folder is empty, or holds nothing but the mark of a process that has ended."""
    found = [path.name for path in folder.iterdir()]
    if found != [MARK] or read_mark(folder) != Mark():
        return not found
    try:
        with locked(folder / MARK, wait=False):
            return True
    except BlockingIOError:
        return False


def _holds(folder: Path, holds: str) -> bool:
    mark = None if folder.is_symlink() else read_mark(folder)
    return mark is not None and mark.holds == holds


def _mark(folder: Path, mark: Mark) -> None:
    write_text(folder / MARK, _mark_text(mark))


def _mark_text(mark: Mark) -> str:
    return mark.model_dump_json() + "\n"


def _files(folder: Path) -> Iterator[Path]:
    """Yield files and links below a folder, but not its mark."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in (*files, *links) if Path(place, name) != folder / MARK)


def _replace(folder: Path, part: Path) -> None:
    if not folder.is_dir():
        part.rename(folder)
        return
    mark = read_mark(folder)
    aside = part.with_name(part.name.replace(PART, BEFORE, 1))
    folder.rename(aside)
    try:
        part.rename(folder)
    except BaseException:  # also Ctrl-C
        aside.rename(folder)
        raise
    _carry_over(aside, folder, mark)


def _carry_over(earlier: Path, folder: Path, mark: Mark | None) -> None:
    """Move what somebody else put into an earlier folder with this mark to where it was; delete the rest."""
    ours = set(mark.files or ()) if mark else set()
    # First: once the mark is gone, nobody could tell them from those of somebody else.
    for name in ours:
        with contextlib.suppress(FileNotFoundError):
            (earlier / name).unlink()
    for path in list(_files(earlier)):
        name = path.relative_to(earlier).as_posix()
        if name not in ours:
            target = next(place / name for place in _places(folder) if _is_free(place / name, folder))
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    shutil.rmtree(earlier)


def _places(folder: Path) -> Iterator[Path]:
    """Yield where to carry things to: where they were, or aside when something new has that name."""
    yield folder
    yield from (folder / f"kept-{number}" for number in itertools.count(1))


def _is_free(path: Path, folder: Path) -> bool:
    above = path.relative_to(folder).parents
    return not os.path.lexists(path) and all(
        (folder / part).is_dir() for part in above if os.path.lexists(folder / part)
    )


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer of this folder left; one that lives holds its mark locked."""
    for part in _others(PART, folder):
        with contextlib.suppress(OSError), locked(part / MARK, wait=False):
            shutil.rmtree(part)


def _recover(folder: Path) -> None:
    """Finish for a killed writer that had put the earlier folder aside; one that lives holds a mark locked."""
    for aside in _others(BEFORE, folder):
        part = aside.with_name(aside.name.replace(BEFORE, PART, 1))
        with contextlib.suppress(OSError):
            if not os.path.lexists(folder):
                with locked(part / MARK, wait=False) if part.is_dir() else contextlib.nullcontext():
                    aside.rename(folder)
            elif read_mark(folder):
                with locked(folder / MARK, wait=False):
                    _carry_over(aside, folder, read_mark(aside))


def _others(kind: str, folder: Path) -> list[Path]:
    return list(folder.parent.glob(f"{kind}{'?' * 8}-{glob.escape(folder.name)}"))


@contextlib.contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder} cannot be made: {error.strerror}", "give another folder") from None
