"""How soon a site that waits asks the server for work again: the longer it has waited, the later.

FLARE 2.9 lets every site ask at one interval. A short one costs the server 4 to 8 % of a core for each site that waits,
as long as the slowest one trains: more than a core for 30 sites. A long one adds itself to each round.
"""

import time
from collections.abc import Callable
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

# Of the time that a site has waited, and so at most of a round, and the most seconds.
SHARE, LONGEST = 0.05, 2.0


def pause(waited: float, least: float) -> float:
    """Return the seconds after which a site asks again.

    Args:
        waited: seconds since its first question after its last work.
        least: ``task_request_interval`` of the job; a longer one than :data:`LONGEST` stands for all questions.

    Example:
        >>> pause(1.0, least=0.1), pause(10.0, least=0.1), pause(3600.0, least=0.1), pause(3600.0, least=5.0)
        (0.1, 0.5, 2.0, 5.0)
    """
    return max(least, min(SHARE * waited, LONGEST))


class RequestPace(FLComponent):
    """Part of every job at the server: sets what FLARE's runner tells each site.

    The runner has one number for all sites, and reads it a moment after the event. Where two sites ask in that moment,
    one may wait as the other should: once, and never for longer than :data:`LONGEST`.

    Args:
        clock: of seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._least = 0.0
        self._since: dict[str, float] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Let a site that waits ask later and later, and soon after the work that it is given."""
        if event_type == EventType.START_RUN:
            self._least = _config(fl_ctx).task_request_interval
        elif event_type == EventType.AFTER_PROCESS_TASK_REQUEST:
            now = self._clock()
            waited = now - self._since.setdefault(_site(fl_ctx), now)
            _config(fl_ctx).task_request_interval = pause(waited, self._least)
        elif event_type == EventType.AFTER_TASK_DATA_FILTER:
            self._since.pop(_site(fl_ctx), None)
            _config(fl_ctx).task_request_interval = self._least


def _config(fl_ctx: FLContext) -> Any:
    return fl_ctx.get_prop(FLContextKey.RUNNER).config


def _site(fl_ctx: FLContext) -> str:
    """Return who asks; see :func:`~fedgin.flare.server.sender.refuse_other_names`."""
    return str(fl_ctx.get_peer_context().get_identity_name())
