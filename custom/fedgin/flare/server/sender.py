"""Who sent a message: what FLARE proved, not what the message says."""

from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedKey, ServerCommandKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.private.defs import CellMessageHeaderKeys
from nvflare.private.fed.server.server_command_agent import ServerCommandAgent
from nvflare.private.fed.server.server_commands import ServerCommands

from fedgin.errors import one_line

LONGEST = 80

_stock_aux, _stock_command = ServerCommandAgent._aux_communicate, ServerCommandAgent._execute_command


def sender(result: Shareable) -> str:
    """Return the name of the site from which a task's result came, or ``unknown``.

    With mutual TLS a site registers with its certificate and is given a token that the server signs together with the
    certificate's name. Each message carries both; the server looks the client up by the token and notes it in the
    result. The name in the peer context is the site's own word, in which a site could call itself another.
    """
    client = result.get_header(ServerCommandKey.FL_CLIENT)
    return str(client.name) if isinstance(client, Client) else "unknown"


def refuse_other_names() -> None:
    """Refuse from now on, in a job's process at the server, a message whose sender calls itself another site.

    Of what is no task's result, such as a metric as it comes or a sign of life, FLARE notes no client: its parts
    believe the peer context. So they do where a site asks for a task: who asks is alive.
    """
    ServerCommandAgent._aux_communicate = _aux_communicate
    ServerCommandAgent._execute_command = _execute_command


def _aux_communicate(agent: Any, request: Any) -> Any:
    peer = request.payload.get_peer_props() if isinstance(request.payload, Shareable) else None
    named = peer.get(ReservedKey.IDENTITY_NAME) if isinstance(peer, dict) else None
    return _refusal(agent, request, named) or _stock_aux(agent, request)


def _execute_command(agent: Any, request: Any) -> Any:
    if request.get_header(MessageHeaderKey.TOPIC) not in ServerCommands.client_request_commands_names:
        return _stock_command(agent, request)
    peer = request.payload.get_peer_context() if isinstance(request.payload, Shareable) else None
    named = peer.get_identity_name() if isinstance(peer, FLContext) else None
    return _refusal(agent, request, named) or _stock_command(agent, request)


def _refusal(agent: Any, request: Any, named: object) -> Any:
    """Return the answer to a message that names another sender than its token's, or nothing."""
    clients = agent.engine.server.client_manager.clients
    client = clients.get(request.get_header(CellMessageHeaderKeys.TOKEN))
    # A process that does not know its clients yet has no run either: FLARE asks the sender to try again.
    if not clients or (client is not None and named == client.name):
        return None
    shown, site = one_line(str(named))[:LONGEST], client.name if client else "somebody"
    agent.logger.error(f"a message of {site} was refused: it names itself '{shown}'")
    return make_reply(ReturnCode.AUTHENTICATION_ERROR, error="it names another sender")
