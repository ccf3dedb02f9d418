"""Choose the best global model so far by the validation Dice of those sites alone whose update was let in."""

from nvflare.apis.dxo import MetaKey, from_shareable
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_common.widgets.intime_model_selector import IntimeModelSelector

from fedgin.flare.participation import Contribution
from fedgin.flare.protocol import DICE, VERDICT


class AcceptedModelSelector(IntimeModelSelector):
    """FLARE's stock ``IntimeModelSelector``, which would count a site before its update is judged.

    A site that is refused, or that reports a Dice outside of [0, 1], has no say in which model is the best. One that
    is refused only when sizes are compared, after all updates are in, was counted; :attr:`RunResult.chosen_model` does
    not rest on this choice alone.
    """

    def __init__(self) -> None:
        super().__init__(key_metric=DICE)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Hand the stock selector an update once the aggregator has let it in."""
        if event_type == AppEventType.BEFORE_CONTRIBUTION_ACCEPT:
            return
        if event_type == AppEventType.AFTER_CONTRIBUTION_ACCEPT:
            if isinstance(fl_ctx.get_prop(VERDICT), Contribution) and _reports_a_dice(fl_ctx):
                super().handle_event(AppEventType.BEFORE_CONTRIBUTION_ACCEPT, fl_ctx)
            return
        super().handle_event(event_type, fl_ctx)


def _reports_a_dice(fl_ctx: FLContext) -> bool:
    metrics = from_shareable(fl_ctx.get_peer_context().get_prop(FLContextKey.SHAREABLE)).get_meta_prop(
        MetaKey.INITIAL_METRICS
    )
    value = metrics.get(DICE) if isinstance(metrics, dict) else None
    return isinstance(value, int | float) and 0.0 <= value <= 1.0
