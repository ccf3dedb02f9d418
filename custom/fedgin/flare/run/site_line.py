"""The line from FLARE's simulator to a site's process, none of whose waits is without end."""

import logging
import time
from collections.abc import Callable
from multiprocessing.connection import Client
from typing import Any

import psutil

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
# A busy machine may need minutes to start Python and import FLARE.
SECONDS_TO_START = 600.0
# A site that trains when the job ends stops within seconds; FLARE's own end takes some five more.
SECONDS_TO_END = 60.0


class LineError(Exception):
    """There is no line to the site's process, or no longer one; the process has been ended."""


class SiteLine:
    """What FLARE's ``SimulatorClientRunner`` needs of a connection to a site's process.

    FLARE connects to whoever listens on the port that it chose, which may be the process of another simulator on this
    machine: each chooses a port that is free, and its process takes it seconds later. The site of one of them then
    works for the other, and nobody for that one. And FLARE waits without end for what the process says.

    Args:
        process: the site's.
        port: where it is told to listen.
        running: whether the server's job still runs.

    Raises:
        LineError: the process has ended, or does not listen after :data:`SECONDS_TO_START`.
    """

    def __init__(self, process: psutil.Process, port: int, running: Callable[[], bool]) -> None:
        self.process, self.running = process, running
        self.ends: float | None = None
        self.stopped = False
        start = time.monotonic()
        while not self._listens_on(port):
            if time.monotonic() - start > SECONDS_TO_START:
                self._give_up(f"it was not ready after {SECONDS_TO_START:.0f} s")
            self._check()
            time.sleep(POLL_SECONDS)
        self.connection = Client(("localhost", port))

    def send(self, data: object) -> None:
        """Send what is small; ``OSError`` where the process has ended."""
        self.connection.send(data)

    def recv(self) -> Any:
        """Wait for what the process says; ``EOFError`` or ``OSError`` where it has ended.

        Raises:
            LineError: it goes on for more than :data:`SECONDS_TO_END` after the job.
        """
        while not self.connection.poll(POLL_SECONDS):
            self._check()
        return self.connection.recv()

    def _listens_on(self, port: int) -> bool:
        try:
            connections = self.process.net_connections("tcp4")
        except psutil.Error:
            return False
        return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in connections)

    def _check(self) -> None:
        status = _status(self.process)
        if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            raise LineError("its process has ended")
        self._tell_of_stop(status)
        if self.running():
            return
        self.ends = self.ends or time.monotonic() + SECONDS_TO_END
        if time.monotonic() > self.ends:
            self._give_up(f"it went on for {SECONDS_TO_END:.0f} s after the job")

    def _tell_of_stop(self, status: str) -> None:
        """Say once that the process is stopped. It is waited for: whoever stopped it can let it go on."""
        if status == psutil.STATUS_STOPPED and not self.stopped:
            pid = self.process.pid
            logger.warning(f"a site's process is stopped, and waited for: let it go on with 'kill -CONT {pid}'")
        self.stopped = status == psutil.STATUS_STOPPED

    def _give_up(self, reason: str) -> None:
        self.process.kill()
        raise LineError(f"its process was ended: {reason}")


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_DEAD)
