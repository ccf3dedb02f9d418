"""Who runs a kit, and who listens on a port of this machine."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

# In the kit: held by the process that runs it, which writes its name into it.
LOCK = "running.lock"
SERVER_MODULE = "nvflare.private.fed.app.server"
# Between the processes that listen on one port.
AND = " and "


def name_of(pid: int, host: str) -> str:
    """Return how a process is named that runs a kit; another machine may read it."""
    return f"process {pid} on {host}"


def running(workspace: Path) -> str:
    """Return the name of the process that runs a kit; nothing when there is none.

    Args:
        workspace: the unpacked kit; nothing in it is changed.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(workspace / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 200).decode("utf-8", "replace") or "another process"
        finally:
            os.close(descriptor)
    return ""


def is_here(name: str) -> bool:
    """Tell whether a process that :func:`running` names is on this machine, or in this container."""
    return name.endswith(f" on {socket.gethostname()}")


def port_holder(port: int) -> str:
    """Describe who listens on a port, without a user or a folder."""
    import psutil  # not in the processes that run for days

    listening = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
    ]
    named = [_describe(pid) for pid in sorted({pid for pid in listening if pid})]
    if named:
        return AND.join(named)
    if listening:
        return f"a process of another user (as root: ss -ltnp 'sport = :{port}')"
    return "a server that is just starting"


def _describe(pid: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        what = "a FLARE server" if any(SERVER_MODULE in word for word in process.cmdline()) else process.name()
        return f"process {pid} ({what})"
    return f"process {pid}"
