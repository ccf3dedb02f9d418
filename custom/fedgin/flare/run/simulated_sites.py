"""The processes of simulated sites, started as copies of the fork server's where there is one."""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from fedgin.flare.process import MODULE
from fedgin.flare.run.site_line import LineError
from fedgin.fork_server import Copy, copy
from fedgin.processes import ERROR, OUTPUT


class SimulatedSites:
    """Stands for ``subprocess`` in FLARE's runner of simulated sites, whose threads start one process after the other.

    FLARE starts Python anew for each site, which takes seconds.
    """

    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self) -> None:
        self._own = threading.local()

    def Popen(  # noqa: N802
        self, command: Sequence[str], *, env: Mapping[str, str], **how: Any
    ) -> "Copy | subprocess.Popen[bytes]":
        """Start what FLARE would start, in a session of its own.

        Args:
            command: Python, ``-m``, FLARE's module and its arguments.
            env: all variables.
            how: FLARE's other settings of ``subprocess.Popen``.
        """
        python, option, *words = command
        with open(os.devnull, "rb") as nothing:
            started = copy(MODULE, words, (nothing.fileno(), OUTPUT, ERROR), env)
        self._own.process = started or subprocess.Popen([python, option, MODULE, *words], env=env, **how)
        return self._own.process

    def last_started(self) -> psutil.Process:
        """Return the process that the calling thread has just started.

        Raises:
            LineError: it has ended.
        """
        try:
            return psutil.Process(self._own.process.pid)
        except psutil.NoSuchProcess:
            raise LineError("its process has ended") from None
