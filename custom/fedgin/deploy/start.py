"""Start FLARE from a kit, unless it would go wrong without a word; the scripts of our kits start it this way.

Stock FLARE lets a second server listen on a used port, and the kernel then deals out sites and consoles at random. Two
clients with one kit take the connection from each other in turns. So this process holds the kit, and a server its port,
as long as it runs. The kernel lets go of both when it ends, however it ends; job processes inherit neither.

    python3 -m fedgin.deploy.start WORKSPACE [MODULE ARGUMENT ...]

Without a module it only says whether the start would be refused: one line on standard error and exit code 2.
"""

import contextlib
import errno
import json
import os
import runpy
import socket
import sys
from pathlib import Path

from fedgin.deploy.holder import LOCK, name_of, port_holder, running
from fedgin.errors import FedginError
from fedgin.files import locked
from fedgin.kit_path import check_kit_path

REFUSED = 2
UNPACK = "unpack the kit again as it was sent"


class KitStartError(FedginError):
    """A kit cannot be started; what runs already is left alone."""

    code = "FG-062"


def hold(workspace: Path) -> contextlib.ExitStack:
    """Hold a kit, and the port if it is a server's, until the result is closed.

    Args:
        workspace: the unpacked kit.

    Raises:
        ConfigError: FLARE could run no job from this path.
        KitStartError: the kit runs already, its folder cannot be written, or somebody else holds the port.
    """
    check_kit_path(workspace)
    with contextlib.ExitStack() as held:
        _hold_kit(workspace, held)
        settings = workspace / "startup" / "fed_server.json"
        if settings.is_file():
            _hold_port(_read_port(settings), held)
        return held.pop_all()


def _hold_kit(workspace: Path, held: contextlib.ExitStack) -> None:
    try:
        descriptor = held.enter_context(locked(workspace / LOCK, wait=False))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, name_of(os.getpid(), socket.gethostname()).encode(), 0)
    except BlockingIOError:
        raise KitStartError(
            f"the kit in {workspace} runs already: {running(workspace)}",
            "stop that one first, or leave it; another site needs a kit of its own",
        ) from None
    except OSError as error:
        raise KitStartError(
            f"the kit in {workspace} cannot be written ({error.strerror}), and FLARE keeps its logs and jobs there",
            f"let user {os.geteuid()} own it, or set NVFL_WORKSPACE to a folder that this user owns",
        ) from None


def _read_port(settings: Path) -> int:
    try:
        [server] = json.loads(settings.read_text(encoding="utf-8"))["servers"]
        return int(server["service"]["target"].rpartition(":")[2])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise KitStartError(f"startup/{settings.name} names no port", UNPACK) from None


def _hold_port(port: int, held: contextlib.ExitStack) -> None:
    """Refuse a port that somebody listens on, and keep other servers of ours from starting on it.

    FLARE itself opens the port some seconds later. Until then a name of the kernel's stands for it, which belongs, as
    the port does, to one process of this network.
    """
    try:
        held.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0fedgin-server-{port}")
        # Without SO_REUSEPORT, with which FLARE opens it: the kernel then refuses a port that somebody listens on.
        socket.create_server(("", port)).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise KitStartError(
                f"port {port} cannot be opened ({error.strerror})", "choose another 'server.port' in sites.yaml"
            ) from None
        raise KitStartError(
            f"port {port} is held by {port_holder(port)}",
            "stop that one first, or give this server another 'server.port' in sites.yaml",
        ) from None


def main(workspace: Path, command: list[str]) -> None:
    """Hold what is needed and become the module, or end with code 2 and one line."""
    try:
        held = hold(workspace)
    except FedginError as error:
        print(f"fedgin: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    with held:
        if command:
            sys.argv = command
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
