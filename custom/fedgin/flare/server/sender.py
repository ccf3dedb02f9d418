"""Who sent a message: what FLARE proved, not what the message says."""

from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedKey, ServerCommandKey
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.private.defs import CellMessageHeaderKeys
from nvflare.private.fed.server.server_command_agent import ServerCommandAgent

from fedgin.errors import one_line

LONGEST = 80

_stock = ServerCommandAgent._aux_communicate


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
    believe the peer context.
    """
    ServerCommandAgent._aux_communicate = _aux_communicate


def _aux_communicate(agent: Any, request: Any) -> Any:
    clients = agent.engine.server.client_manager.clients
    client = clients.get(request.get_header(CellMessageHeaderKeys.TOKEN))
    named = _named(request.payload)
    # A process that does not know its clients yet has no run either: FLARE asks the sender to try again.
    if not clients or (client is not None and named == client.name):
        return _stock(agent, request)
    shown, site = one_line(str(named))[:LONGEST], client.name if client else "somebody"
    agent.logger.error(f"a message of {site} was refused: it names itself '{shown}'")
    return make_reply(ReturnCode.AUTHENTICATION_ERROR, error="it names another sender")


def _named(payload: object) -> object:
    peer = payload.get_peer_props() if isinstance(payload, Shareable) else None
    return peer.get(ReservedKey.IDENTITY_NAME) if isinstance(peer, dict) else None
