"""A process of FLARE's, without the transport that nobody uses: ``python -m fedgin.flare.process MODULE ARGUMENT ...``.

Each process of FLARE's, of a job, too, loads the drivers of all transports that FLARE knows. That of HTTP brings a web
server: a third of the CPU that the process takes to start, and 12 MB. Our kits speak gRPC and TCP.

The process may be a copy of the fork server's, which has imported FLARE. The only thing that FLARE draws as it is
imported, and that no two processes may share, is the first number of their messages.
"""

import random
import runpy
import sys
import time
from collections.abc import Sequence
from types import ModuleType

# Its own name, for those who start one: run as a command it has another.
MODULE = "fedgin.flare.process"
HTTP_DRIVER = "nvflare.fuel.f3.drivers.aio_http_driver"


def leave_out_http() -> None:
    """Let FLARE find no driver for HTTP in this process; call it before the first connection."""
    sys.modules.setdefault(HTTP_DRIVER, ModuleType(HTTP_DRIVER))


def draw_numbers() -> None:
    """Number this process's messages anew, as FLARE does when it is imported.

    The processes of a site that is started for each of its tasks would repeat their numbers, and the server would take
    a message of the second for one of the first that it has had.
    """
    from nvflare.fuel.f3.streaming import stream_utils

    stream_utils.sid_base = int(time.time() * stream_utils.MILLION) + random.SystemRandom().randint(0, 10**6)


def become(command: Sequence[str]) -> None:
    """Run a module of FLARE's as ``python -m`` would, in this process.

    Args:
        command: the module's name and its arguments.
    """
    leave_out_http()
    draw_numbers()
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Become the module that the command line names."""
    become(sys.argv[1:])


if __name__ == "__main__":
    main()
