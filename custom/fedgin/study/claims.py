"""Who runs which arm, when several calls, on one machine or on many, work in one study's folder.

A claim is a file ``claims/ARM/NUMBER`` that is made only if it does not exist, which is atomic on local and on network
file systems. Numbers only rise and no file is removed, so that nobody can take what another one has just taken. The
highest number counts, and its owner touches it every :data:`RENEW_SECONDS`. It is free when it says that it was
released, when it was not touched for :data:`STALE_SECONDS`, or at once when its process ran on this machine and has
ended. Times are the file server's own, so that clocks of machines need not agree.

An owner that was held up and finds a higher number, or that cannot touch its file, has lost the arm and stops it.
"""

import contextlib
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import ValidationError

from fedgin.config import Settings
from fedgin.files import write_text

RENEW_SECONDS = 20.0
STALE_SECONDS = 600.0


class Owner(Settings):
    """What a claim says.

    Attributes:
        machine: names a machine until it is started anew, with the processes that can be seen there.
        pid: the process.
        host: name of the machine, for people.
        released: the owner has let go.
    """

    machine: str
    pid: int
    host: str
    released: bool = False


@dataclass
class _Held:
    """A claim of this process, and when it was last renewed, by this process's clock."""

    path: Path
    renewed: float


class Claims:
    """The claims on a study's arms.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, _Held] = {}
        self._self = Owner(machine=_this_machine(), pid=os.getpid(), host=socket.gethostname())

    def take(self, arm: str) -> bool:
        """Claim an arm for this process; say whether it is its own now. ``OSError`` passes through."""
        home = self.folder / arm
        home.mkdir(parents=True, exist_ok=True)
        last = _last(home)
        if last and not self._is_free(home / str(last)):
            return False
        path = home / str(last + 1)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False  # another one was faster
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._self.model_dump_json())
        self._held[arm] = _Held(path, time.monotonic())
        return True

    def owner(self, arm: str) -> str:
        """Return the name of the machine that has an arm; empty where nobody has."""
        home = self.folder / arm
        last = _last(home) if home.is_dir() else 0
        if not last or self._is_free(home / str(last)):
            return ""
        said = _read(home / str(last))
        return said.host if said else "another machine"

    def renew(self) -> list[str]:
        """Say that this process still runs its arms; return those that it has lost and must stop."""
        lost = []
        for arm, held in list(self._held.items()):
            with contextlib.suppress(OSError):
                if _last(held.path.parent) == int(held.path.name):
                    os.utime(held.path)
                    held.renewed = time.monotonic()
                    continue
                held.renewed = -STALE_SECONDS
            # Whoever cannot renew stops before another one may begin.
            if time.monotonic() - held.renewed > STALE_SECONDS / 2:
                del self._held[arm]
                lost.append(arm)
        return lost

    def release(self, arm: str) -> None:
        """Let go of an arm, if this process has it."""
        held = self._held.pop(arm, None)
        if held is not None:
            with contextlib.suppress(OSError):  # it will be stale
                write_text(held.path, self._self.model_copy(update={"released": True}).model_dump_json())

    def _is_free(self, path: Path) -> bool:
        said = _read(path)
        if said and said.released:
            return True
        if said and said.machine == self._self.machine and not psutil.pid_exists(said.pid):
            return True
        return _age(path) > STALE_SECONDS


def _this_machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex  # nobody's: only time tells that an owner has ended


def _last(home: Path) -> int:
    return max((int(name) for name in os.listdir(home) if name.isdecimal()), default=0)


def _read(path: Path) -> Owner | None:
    """Return what a claim says; nothing while it is being written, or when its writer was killed meanwhile."""
    try:
        return Owner.model_validate_json(path.read_bytes())
    except ValidationError:
        return None


def _age(path: Path) -> float:
    """Return the seconds since a file was touched, by the clock of whoever keeps the files."""
    probe = path.parent / f".now-{uuid.uuid4().hex[:8]}"
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink()
