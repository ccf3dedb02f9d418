"""The way to the server: name, port, and a handshake in which both sides show their certificate."""

import socket
import ssl

from fedgin.data.validation.findings import Finding, fail, passed
from fedgin.deploy.doctor.kit import ROOT, Kit

SECONDS = 5.0


def check_server(kit: Kit) -> list[Finding]:
    """Resolve the server's name, connect to its port and greet it; each step needs the one before."""
    where = f"{kit.host}:{kit.port}"
    try:
        socket.getaddrinfo(kit.host, kit.port, type=socket.SOCK_STREAM)
    except OSError:
        fix = "ask your network team for a DNS entry, or the project lead for a kit with another name: 'connect_to'"
        return [fail("server_name", f"the name {kit.host} cannot be resolved", fix)]
    resolved = passed("server_name", f"{kit.host} can be resolved")
    try:
        connection = socket.create_connection((kit.host, kit.port), timeout=SECONDS)
    except OSError:
        fix = f"open outgoing TCP to {where} in the firewall, and ask the project lead whether the server is up"
        return [resolved, fail("server_tcp", f"no TCP connection to {where} within {SECONDS:g} s", fix)]
    with connection:
        return [resolved, passed("server_tcp", f"{where} answers"), _greet(kit, connection)]


def _greet(kit: Kit, connection: socket.socket) -> Finding:
    try:
        with tls_context(kit).wrap_socket(connection, server_hostname=kit.host) as secure:
            if _is_cut(secure):
                return _refused(kit, "the connection was cut")
            return passed("server_tls", f"mutual {secure.version()} handshake")
    except ssl.SSLCertVerificationError as error:
        fix = "use the kit of this federation, and look whether a proxy opens TLS connections on the way"
        return fail("server_tls", f"the server's certificate is not accepted: {error.verify_message}", fix)
    except OSError as error:
        return _refused(kit, getattr(error, "reason", None) or "the connection was cut")


def _is_cut(secure: ssl.SSLSocket) -> bool:
    """Tell whether the server hangs up.

    In TLS 1.3 it judges our certificate after the handshake: a refusal is an alert, or the end, at the first read. gRPC
    speaks first; other transports stay silent, and silence is no refusal.
    """
    try:
        return not secure.recv(1)
    except TimeoutError:
        return False


def _refused(kit: Kit, reason: str) -> Finding:
    owner = kit.kind.owner
    fix = f"ask the project lead whether this {owner}'s certificate is of this federation and not revoked"
    return fail("server_tls", f"the server refused this {owner}'s certificate: {reason}", fix)


def tls_context(kit: Kit) -> ssl.SSLContext:
    """Return how the kit's owner opens a connection: with its certificate, to a server of its own root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(kit.folder / ROOT)
    context.load_cert_chain(kit.folder / f"{kit.kind.base}.crt", kit.folder / f"{kit.kind.base}.key")
    context.set_alpn_protocols(["h2"])
    return context
