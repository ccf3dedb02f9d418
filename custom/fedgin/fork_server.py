"""Processes that start as copies of one that has imported PyTorch and MONAI: ``python -m fedgin.fork_server``.

Importing them takes some 5 s of CPU and 250 MB. On a machine where many processes need them, such as a study's, one
process imports them and forks (as ``multiprocessing`` with its own server does, for the children of one process):
a copy starts in a tenth of a second and shares that memory. Whoever is started below finds the server's socket in the
environment, so that sites, which FLARE's processes start, are copies too.

A request is the length of a JSON text, with three file descriptors beside it, and the text. The answer is the copy's
number with a pidfd beside it, or nothing where this server cannot make the copy; after the copy's end its code follows.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fedgin
from fedgin.processes import ERROR, INPUT, OUTPUT, few_arenas, few_threads, same_packages

SOCKET = "FEDGIN_FORK_SERVER"
NUMBER = 4
STANDARD = (INPUT, OUTPUT, ERROR)
# What copies run; and what those import that check a job, or build a network. FLARE first: it looks at every module
# that is there already.
IMPORTED = (
    "fedgin.flare.client.executor",
    "fedgin.flare.server.aggregator",
    "nvflare.app_opt.tracking.tb.tb_receiver",
    "fedgin.train.site.worker",
    "fedgin.train.initial_model",
    "fedgin.flare.jobs.installed",
    "monai.networks.nets",
)
# What a name in an experiment can stand for: a copy would import all of it at the first name that it looks up.
REGISTERED = ("fedgin.nets.architectures", "fedgin.augment.methods")
# Present where a GPU's driver is loaded: what a library asked of it before the fork, a copy could not use.
GPU_DRIVER = Path("/dev/nvidiactl")
# Seconds for which the server waits for the rest of a request: who is stopped in the middle of one stops nobody else.
SECONDS_TO_ASK = 10.0
# Seconds that the server has to end; it may be importing.
SECONDS_TO_END = 30.0


class Copy:
    """A running copy; what is needed of :class:`subprocess.Popen`.

    Args:
        connection: to the server, which waits for the copy's end.
        pid: its number, and that of its group and session.
        pidfd: names the process, also when its number has been given to another.
    """

    def __init__(self, connection: socket.socket, pid: int, pidfd: int) -> None:
        self.connection, self.pid, self.pidfd = connection, pid, pidfd
        self.returncode: int | None = None
        # Nobody may wait for it: FLARE's simulator forgets a site's process to which it found no connection.
        self._close = weakref.finalize(self, _close_both, connection, pidfd)

    def send_signal(self, sign: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, sign)

    def kill(self) -> None:
        """End it at once; nothing happens where it has ended."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end; nothing happens where it has ended."""
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """Return its code once it has ended, ``None`` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.001)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its code, as ``Popen`` does: negative for the signal that ended it.

        Where the server has ended, nobody can tell: the copy is ended, too.

        Raises:
            TimeoutExpired: it has not ended after so many seconds.
        """
        if self.returncode is None:
            self.connection.settimeout(timeout)
            try:
                code = self.connection.recv(NUMBER)
            except TimeoutError:
                raise subprocess.TimeoutExpired("a copy", timeout or 0.0) from None
            if not code:  # the server has ended; the copy may run, and would do so beside the one that replaces it
                self.kill()
            self._close()
            self.returncode = int.from_bytes(code, signed=True) if code else -signal.SIGKILL
        return self.returncode


def _close_both(connection: socket.socket, pidfd: int) -> None:
    connection.close()
    os.close(pidfd)


def copy(module: str, arguments: Sequence[str], standard: Sequence[int], environment: Mapping[str, str]) -> Copy | None:
    """Let the server, where there is one, run ``main()`` of a module of this package in a copy of itself.

    Args:
        module: its dotted name.
        arguments: of the command line.
        standard: file descriptors of the copy's standard input, output and error.
        environment: all of the copy's variables.

    Returns:
        The copy; ``None`` without a server, or where it is one of another installation.
    """
    path = os.environ.get(SOCKET)
    if path is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    wanted = {"module": module, "arguments": list(arguments), "folder": os.getcwd(), "environment": dict(environment)}
    text = json.dumps({**wanted, "installation": _installation()}).encode()
    try:
        connection.connect(path)
        socket.send_fds(connection, [len(text).to_bytes(NUMBER)], list(standard))
        connection.sendall(text)
        pid, pidfds, _, _ = socket.recv_fds(connection, NUMBER, 1)
    except OSError:  # it has ended
        pid, pidfds = b"", []
    if not pidfds:
        connection.close()
        return None
    return Copy(connection, int.from_bytes(pid), pidfds[0])


def _installation() -> list[str]:
    return [sys.prefix, str(Path(fedgin.__file__).parent)]


@contextlib.contextmanager
def fork_server() -> Iterator[None]:
    """Inside, what this process and all below it :func:`~fedgin.launch.launch` are copies of one process.

    It imports what they need when the first is asked for. Nothing is done inside another such block, nor on a machine
    with a GPU.
    """
    if SOCKET in os.environ or GPU_DRIVER.exists():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="fedgin-") as folder:
        path = str(Path(folder) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()  # who comes before the server has started waits for it
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "fedgin.fork_server", str(listener.fileno())],
                stdin=subprocess.PIPE,  # its end ends the server
                # With more than one thread it could not be copied: a copy has only the thread that forks.
                env={**same_packages(), **few_threads(1), **few_arenas()},
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is for those who know what becomes of a copy
            )
        os.environ[SOCKET] = path
        try:
            yield
        finally:
            del os.environ[SOCKET]
            _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server, also when it was stopped, or when another process holds its input."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


class _Server:
    """Makes copies of this process until standard input ends, and tells each one's end to who asked for it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.asked: dict[int, socket.socket] = {}
        self.ended, wake = os.pipe()
        for end in (self.ended, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> Mapping[str, Any] | None:
        """Return what a copy is to be, in that copy, and ``None`` in this process when its work is over."""
        with selectors.DefaultSelector() as ready:
            for source in (INPUT, self.ended, self.listener):
                ready.register(source, selectors.EVENT_READ)
            while True:
                sources = [key.fileobj for key, _ in ready.select()]
                if self.ended in sources:
                    os.read(self.ended, 4096)
                    self._tell_ends()
                if INPUT in sources:
                    return None
                if self.listener in sources and (wanted := self._answer()):
                    return wanted

    def _tell_ends(self) -> None:
        while self.asked:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if connection := self.asked.pop(pid, None):  # else a library started it
                with connection, contextlib.suppress(OSError):
                    connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(NUMBER, signed=True))

    def _answer(self) -> Mapping[str, Any] | None:
        """Make the copy that the next caller asks for; return what it is to be, in the copy only."""
        connection, _ = self.listener.accept()
        wanted, standard = _read_request(connection)
        pid = None
        if wanted.get("installation") == _installation() and len(standard) == len(STANDARD):
            _import_all()
            pid = _fork()
            if pid == 0:
                connection.close()
                self._become(standard)
                return wanted
        for descriptor in standard:
            os.close(descriptor)
        if pid is None:
            connection.close()
            return None
        self.asked[pid] = connection
        pidfd = os.pidfd_open(pid)
        with contextlib.suppress(OSError):  # who asked has ended; the end of its pipe ends the copy
            socket.send_fds(connection, [pid.to_bytes(NUMBER)], [pidfd])
        os.close(pidfd)
        return None

    def _become(self, standard: Sequence[int]) -> None:
        """Give the copy its own session, standard input, output and error, and nothing of the server."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for connection in self.asked.values():
            connection.close()
        for number, descriptor in zip(STANDARD, standard, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@functools.cache
def _import_all() -> None:
    """Import what copies need, and leave it out of their collections, which would copy the memory of all that."""
    from fedgin.registry import import_modules

    for module in IMPORTED:
        importlib.import_module(module)
    for package in REGISTERED:
        import_modules(package)
    gc.collect()
    gc.freeze()


def _fork() -> int | None:
    """Fork, where there is memory for it; else the caller starts a process of its own, or says why it cannot."""
    try:
        return os.fork()
    except OSError:
        return None


def _read_request(connection: socket.socket) -> tuple[Mapping[str, Any], list[int]]:
    """Return what is asked for, and the file descriptors; nothing of the first where that is no request."""
    connection.settimeout(SECONDS_TO_ASK)
    standard: list[int] = []
    try:
        length, standard, _, _ = socket.recv_fds(connection, NUMBER, len(STANDARD))
        with connection.makefile("rb") as sent:
            asked = json.loads(sent.read(int.from_bytes(length)))
    except (OSError, ValueError, RecursionError):
        asked = None
    return asked if isinstance(asked, dict) else {}, standard


def _run(wanted: Mapping[str, Any]) -> int:
    """Run a module's ``main()`` as a command of its own would; return its exit code."""
    import torch

    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    sys.path[:] = wanted["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.argv = [wanted["module"], *wanted["arguments"]]
    # The libraries have read the variable of the server.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    try:
        return int(importlib.import_module(wanted["module"]).main() or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def _remove_folder(path: Path) -> None:
    """Remove the socket and its folder, which a starter that was killed leaves behind; another has done so already."""
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()


def main() -> None:
    """Serve on the socket that is open as the file descriptor of the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        wanted = _Server(listener).serve()
        if wanted is None:
            _remove_folder(Path(listener.getsockname()))
    if wanted is not None:
        code = _run(wanted)
        # What the libraries do at the end of a process; to free all that they hold, too, takes a second.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
