"""Who sent a message: what FLARE proved, not what the message says."""

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ServerCommandKey
from nvflare.apis.shareable import Shareable


def sender(result: Shareable) -> str:
    """Return the name of the site from which a task's result came, or ``unknown``.

    With mutual TLS a site registers with its certificate and is given a token that the server signs together with the
    certificate's name. Each message carries both; the server looks the client up by the token and notes it in the
    result. The name in the peer context is the site's own word, in which a site could call itself another.
    """
    client = result.get_header(ServerCommandKey.FL_CLIENT)
    return str(client.name) if isinstance(client, Client) else "unknown"
