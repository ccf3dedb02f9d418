"""Let a message of another participant fire the events alone that ours are told by.

FLARE fires whatever event a message names, in every part of the process: with the event of a round's end, or of the
run's, a site could have the checkpoint written anew, its claims forgotten, and all updates of a round thrown away.
"""

from typing import Any

from nvflare.apis.fl_constant import FedEventHeader, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.widgets.fed_event import FedEventRunner

from fedgin.errors import one_line
from fedgin.flare.protocol import METRICS_SENT, UPDATE_REFUSED

ACCEPTED = frozenset({METRICS_SENT, UPDATE_REFUSED})
LONGEST = 80

_stock = FedEventRunner._receive


def accept_ours_alone() -> None:
    """Refuse every other event from now on, in this process; FLARE has no setting for it."""
    FedEventRunner._receive = _receive


def _receive(runner: Any, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
    event = request.get_header(FedEventHeader.EVENT_TYPE)
    if event in ACCEPTED:
        return _stock(runner, topic, request, fl_ctx)
    sender = one_line(str(request.get_peer_prop(ReservedKey.IDENTITY_NAME, "somebody")))[:LONGEST]
    runner.log_error(fl_ctx, f"the event '{one_line(str(event))[:LONGEST]}' of {sender} was refused")
    return make_reply(ReturnCode.BAD_REQUEST_DATA)
