"""Let a process find the packages of the one that started it, and not outlive it.

Who starts a process gives it a pipe as standard input and keeps the other end. However the starter ends, also by
kill -9, the kernel closes that end, and the process reads the end of its input. (Linux's parent-death signal would
follow the starter's *thread*, which may end earlier.)
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

# Of the standard streams.
INPUT, OUTPUT, ERROR = 0, 1, 2
# What FLARE's sub_start.sh sets in every kit; as there, a value in the environment comes first. With glibc's own limit,
# eight for each core, the memory of a simulated server that is free but unreturned grows from round to round.
MALLOC_ARENAS = "4"


def same_packages() -> dict[str, str]:
    """Return the environment in which another Python finds the packages that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def few_threads(count: int) -> dict[str, str]:
    """Return the variables that limit the threads of the libraries."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))


def few_arenas() -> dict[str, str]:
    """Return the variable that limits the arenas of glibc's allocator."""
    return {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", MALLOC_ARENAS)}


def heed_interrupts() -> None:
    """Let SIGINT interrupt this process: a shell lets its background processes ignore it, and they hand that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def own_output() -> BinaryIO:
    """Return this process's standard output; what a library prints goes to standard error from now on."""
    output = os.fdopen(os.dup(OUTPUT), "wb")
    os.dup2(ERROR, OUTPUT)
    return output


def watch_starter(at_end: Callable[[], object]) -> None:
    """Call ``at_end``, in a thread, once standard input has ended; what comes before its end is ignored."""

    def wait() -> None:
        # sys.stdin would be locked while it is read, and a forked child of FLARE's could not close it.
        while os.read(INPUT, 4096):
            pass
        at_end()

    threading.Thread(target=wait, daemon=True).start()
