"""What the sites measured with each round's updates: ``metrics/round_metrics.jsonl`` in the run's folder."""

import json
import math
from pathlib import Path
from typing import Any

from nvflare.apis.dxo import MetaKey, from_shareable
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.flare.participation import Contribution
from fedgin.flare.protocol import MOST_METRICS, VERDICT, numbers
from fedgin.flare.server.sender import sender

# As FLARE's stock writer calls it.
FILE = "metrics/round_metrics.jsonl"


class RoundMetricsWriter(FLComponent):
    """Writes the file of FLARE's stock ``MetricsArtifactWriter``, which believes what an update says of itself.

    There the site's name and the round are the update's own word, so that one site could report in another's name, and
    what is too long for a line drops the numbers of everybody. Here a site is who sent the update, once it was let in,
    and its metrics are numbers under printable names, of which no more are kept than
    :data:`~fedgin.flare.protocol.MOST_METRICS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sites: dict[str, dict[str, Any]] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Note what came with an update that the aggregator has just let in; write the round."""
        if event_type == AppEventType.AFTER_CONTRIBUTION_ACCEPT:
            verdict = fl_ctx.get_prop(VERDICT)
            if isinstance(verdict, Contribution):
                self._note(fl_ctx.get_prop(AppConstants.TRAINING_RESULT), verdict)
        elif event_type == AppEventType.AFTER_AGGREGATION:
            self._write(fl_ctx)

    def _note(self, result: Shareable, verdict: Contribution) -> None:
        metrics = [
            {"name": name, "value": value}
            for name, value in sent_metrics(result)[0].items()
            if name.isprintable() and math.isfinite(value)  # JSON has no NaN
        ]
        if metrics:
            weight = {"weight": verdict.weight, "weight_key": MetaKey.NUM_STEPS_CURRENT_ROUND}
            self._sites[sender(result)] = {"name": sender(result), "metrics": metrics, **weight}

    def _write(self, fl_ctx: FLContext) -> None:
        sites, self._sites = list(self._sites.values()), {}
        if not sites:
            return
        number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
        record = {"round": number, "aggregated_metrics": [], "sites": sites, "skipped_metrics": []}
        path = Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id())) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def sent_metrics(result: Shareable) -> tuple[dict[str, float], int]:
    """Return the numbers that came with an update, and how many metrics more than are kept.

    Args:
        result: whatever a site has sent; nothing comes with what is no update.
    """
    try:
        sent = from_shareable(result).get_meta_prop(MetaKey.INITIAL_METRICS, {})
        return numbers(sent), max(0, len(sent) - MOST_METRICS)
    except Exception:  # what a site sends may be anything; whether it counts is the aggregator's to say
        return {}, 0
