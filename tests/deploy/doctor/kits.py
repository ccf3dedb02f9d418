"""Startup kits as FLARE lays them out, and a server on loopback that asks for their certificates."""

import contextlib
import datetime
import errno
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fedgin.manifest import write_manifest

SITE = "hospital-a"


@dataclass(frozen=True)
class Identity:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key.chmod(0o600)


def issue(name: str, by: Identity | None = None, *, start: float = -1, days: float = 300, host: str = "") -> Identity:
    """Issue a certificate from ``start`` days after now to ``days`` days after now; without ``by`` it is a root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=start))
        .not_valid_after(now + datetime.timedelta(days=days, minutes=5))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return Identity(key, builder.sign(by.key if by else key, hashes.SHA256()))


def close_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system answer of a folder as if it were another user's with mode 0700; root would see it all the same."""
    stat, access = os.stat, os.access

    def stat_outside(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *arguments, **options)

    def access_outside(path: Any, mode: int, **options: Any) -> bool:
        return folder not in (Path(path), *Path(path).parents) and access(path, mode, **options)

    monkeypatch.setattr(os, "stat", stat_outside)
    monkeypatch.setattr(os, "access", access_outside)


def write_kit(folder: Path, root: Identity, site: Identity, target: str = "localhost:8002") -> Path:
    """Write the files of a client kit that the doctor reads."""
    startup = _write_identity(folder, root, site, "client")
    servers = [{"name": "project", "service": {"target": target, "scheme": "grpc"}, "identity": "localhost"}]
    (startup / "fed_client.json").write_text(json.dumps({"format_version": 2, "servers": servers}))
    write_manifest(startup)
    return folder


def write_server_kit(folder: Path, root: Identity, server: Identity, port: int) -> Path:
    """Write the files of a server's kit that the doctor reads; jobs are stored in the kit."""
    startup = _write_identity(folder, root, server, "server")
    servers = [{"name": "project", "service": {"target": f"localhost:{port}", "scheme": "grpc"}}]
    (startup / "fed_server.json").write_text(json.dumps({"format_version": 2, "servers": servers}))
    write_manifest(startup)
    storage = {"args": {"root_dir": str(folder / "storage" / "snapshots")}}
    manager = {"id": "job_manager", "args": {"uri_root": str(folder / "storage" / "jobs")}}
    (folder / "local").mkdir()
    resources = {"snapshot_persistor": {"args": {"storage": storage}}, "components": [manager]}
    (folder / "local" / "resources.json.default").write_text(json.dumps(resources))
    return folder


def write_console_kit(folder: Path, root: Identity, person: Identity, name: str, port: int) -> Path:
    """Write the files of a console's kit that the doctor reads."""
    startup = _write_identity(folder, root, person, "client")
    admin = {"username": name, "host": "localhost", "port": port}
    (startup / "fed_admin.json").write_text(json.dumps({"format_version": 1, "admin": admin}))
    return folder


def _write_identity(folder: Path, root: Identity, owner: Identity, base: str) -> Path:
    startup = folder / "startup"
    startup.mkdir(parents=True)
    owner.write(startup / f"{base}.crt", startup / f"{base}.key")
    (startup / "rootCA.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    return startup


@contextlib.contextmanager
def serve(folder: Path, root: Identity, server: Identity, *, behave: str = "speak") -> Iterator[int]:
    """Run a TLS server on loopback that demands certificates of ``root``; yield its port.

    After the handshake it will ``speak`` (as gRPC does), ``wait`` for the client or ``hang up``.
    """
    folder.mkdir(exist_ok=True)
    server.write(folder / "server.crt", folder / "server.key")
    (folder / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "root.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, context, behave), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes a thread that still waits for a client
        thread.join(timeout=5)


def _answer(listener: socket.socket, context: ssl.SSLContext, behave: str) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True) as secure:
            if behave == "speak":
                secure.sendall(b"\x00")
            if behave != "hang up":
                secure.recv(1)
