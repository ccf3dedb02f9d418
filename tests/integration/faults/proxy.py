"""The network between a site and its server, as a TCP proxy on loopback that a test can freeze, cut and mend."""

import contextlib
import socket
import threading

CHUNK = 65536


class Network:
    """Carries bytes from its own port to the server's, in threads; stands for the line between two hospitals.

    Args:
        server: port of the server on 127.0.0.1.
    """

    def __init__(self, server: int) -> None:
        self.server = server
        self._up = threading.Event()
        self._up.set()
        self._thawed = threading.Event()
        self._thawed.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Carry nothing, but keep every connection; what is sent waits."""
        self._thawed.clear()

    def cut(self) -> None:
        """Break every connection with what is still in it, and let no new one through."""
        self._up.clear()
        self._thawed.set()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Carry everything again."""
        self._up.set()
        self._thawed.set()

    def close(self) -> None:
        """End it."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a close alone does not wake who accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                site, _ = self._listener.accept()
            except OSError:
                return
            try:
                if not self._up.is_set():
                    raise ConnectionError
                server = socket.create_connection(("127.0.0.1", self.server))
            except OSError:
                site.close()
                continue
            threading.Thread(target=self._join, args=(site, server), daemon=True).start()

    def _join(self, site: socket.socket, server: socket.socket) -> None:
        with site, server:
            back = threading.Thread(target=self._carry, args=(server, site), daemon=True)
            back.start()
            self._carry(site, server)
            back.join()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        self._open.add(source)
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._thawed.wait()
                if not self._up.is_set():
                    break
                target.sendall(data)
        self._open.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
