"""The server's port: free, or held by the server of this kit."""

import socket

from cryptography.hazmat.primitives.serialization import Encoding

from fedgin.data.validation.findings import Finding, fail, passed, warn
from fedgin.deploy.doctor.kit import Kit
from fedgin.deploy.doctor.network import SECONDS, tls_context
from fedgin.deploy.holder import AND, port_holder


def check_port(kit: Kit) -> list[Finding]:
    """Open the port as the server would; when it is taken, ask who holds it for its certificate."""
    try:
        socket.create_server(("", kit.port)).close()
    except PermissionError:
        fix = "run the doctor as the user of the server; let it open the port, or choose one above 1023 in sites.yaml"
        return [fail("server_port", f"this user may not open port {kit.port}", fix)]
    except OSError:
        return [_ask_holder(kit, port_holder(kit.port))]
    return [passed("server_port", f"port {kit.port} is free: the server of this kit does not run")]


def _ask_holder(kit: Kit, holder: str) -> Finding:
    if AND in holder:
        message = f"{holder} all listen on port {kit.port}, and sites and consoles are dealt out at random"
        return fail("server_port", message, "stop all but the one whose kit is the right one")
    context = tls_context(kit)
    context.check_hostname = False  # it is asked at this machine's own address, and its certificate is compared below
    try:
        with (
            socket.create_connection(("localhost", kit.port), timeout=SECONDS) as connection,
            context.wrap_socket(connection) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
    except OSError:
        message = f"port {kit.port} is held by something else than this federation's server: {holder}"
        return fail("server_port", message, "end it, or choose another 'server.port' in sites.yaml")
    if shown == kit.certificate.public_bytes(Encoding.DER):
        return passed("server_port", f"port {kit.port} is held by the running server of this kit: {holder}")
    message = f"port {kit.port} is held by a server with another certificate of this federation: {holder}"
    return warn("server_port", message, "restart the server from this kit")
