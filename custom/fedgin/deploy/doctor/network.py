"""The way to the server: name, port, and a handshake in which both sides show their certificate."""

import socket
import ssl

from fedgin.data.validation.findings import Finding, fail, passed
from fedgin.deploy.doctor.kit import Kit

SECONDS = 5.0


def check_server(kit: Kit) -> list[Finding]:
    """Resolve the server's name, connect to its port and greet it; each step needs the one before."""
    where = f"{kit.host}:{kit.port}"
    try:
        socket.getaddrinfo(kit.host, kit.port, type=socket.SOCK_STREAM)
    except OSError:
        fix = "ask your network team for a DNS entry, or write the name into /etc/hosts; an IP address will not do"
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
        with _context(kit).wrap_socket(connection, server_hostname=kit.host) as secure:
            if _is_cut(secure):
                return _refused("the connection was cut")
            return passed("server_tls", f"mutual {secure.version()} handshake")
    except ssl.SSLCertVerificationError as error:
        fix = "use the kit of this federation, and look whether a proxy opens TLS connections on the way"
        return fail("server_tls", f"the server's certificate is not accepted: {error.verify_message}", fix)
    except OSError as error:
        return _refused(getattr(error, "reason", None) or "the connection was cut")


def _is_cut(secure: ssl.SSLSocket) -> bool:
    """Tell whether the server hangs up.

    In TLS 1.3 it judges our certificate after the handshake: a refusal is an alert, or the end, at the first read. gRPC
    speaks first; other transports stay silent, and silence is no refusal.
    """
    try:
        return not secure.recv(1)
    except TimeoutError:
        return False


def _refused(reason: str) -> Finding:
    fix = "ask the project lead whether this site's certificate is of this federation and not revoked"
    return fail("server_tls", f"the server refused this site's certificate: {reason}", fix)


def _context(kit: Kit) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(kit.folder / "rootCA.pem")
    context.load_cert_chain(kit.folder / "client.crt", kit.folder / "client.key")
    context.set_alpn_protocols(["h2"])
    return context
