"""Let no process outlive the one that started it.

Who starts a process gives it a pipe as standard input and keeps the other end. However the starter ends, also by
kill -9, the kernel closes that end, and the process reads the end of its input. (Linux's parent-death signal would
follow the starter's *thread*, which may end earlier.)
"""

import os
import threading
from collections.abc import Callable

INPUT = 0


def watch_starter(at_end: Callable[[], object]) -> None:
    """Call ``at_end``, in a thread, once standard input has ended; what comes before its end is ignored."""

    def wait() -> None:
        # sys.stdin would be locked while it is read, and a forked child of FLARE's could not close it.
        while os.read(INPUT, 4096):
            pass
        at_end()

    threading.Thread(target=wait, daemon=True).start()
