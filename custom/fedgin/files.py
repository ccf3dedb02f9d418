"""Write files whole or not at all, one process at a time; tell by a hash whether they are the same."""

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from fedgin.errors import NotWrittenError

# How the name of an unfinished file begins.
PART = ".part-"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success.

    A reader sees the old content or all of the new one; a failed or killed writer leaves no half file under the name,
    and nor does a machine that loses power. The folder is made when missing. ``OSError`` passes through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name keeps its ending: nibabel and others choose the format by it.
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield part
        # Otherwise the name could reach the disk before the content does.
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left of :func:`whole_file` in a folder in which nobody else writes now."""
    for leftover in folder.glob(f"{PART}*"):
        leftover.unlink()


def flush(path: Path) -> None:
    """Let the content of a file, or the names in a folder, reach the disk. ``OSError`` passes through."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with :func:`whole_file`."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Say in one line, without a path, that something cannot be written.

    Args:
        what: is written: "the results".

    Raises:
        NotWrittenError: in place of ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise NotWrittenError(
            f"{what} cannot be written: {error.strerror}",
            "free disk space, or mend the rights, then repeat the command",
        ) from None


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold a file, which is made when missing, for this process alone; yield its descriptor, open to read and write.

    The kernel lets go of it when the process ends, however it ends.

    Args:
        path: the path of the file; its content stays.
        wait: until another process lets go of it.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits. ``OSError`` passes through."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names, relative to ``root``, and the contents of files. ``OSError`` passes through."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
