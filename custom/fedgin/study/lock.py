"""One call at a time in a study's folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fedgin.errors import FedginError


class FolderInUseError(FedginError):
    """Another call works in the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made when missing; the kernel lets go of it when this process ends, however it ends.

    Raises:
        FolderInUseError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(
                f"another 'fedgin study' works in {folder}", "wait for it or stop it, or choose another --out"
            ) from None
        yield
