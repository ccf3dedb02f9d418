"""Weight the sites' updates as ``federation.client_weighting`` says, on top of FLARE's stock aggregator."""

from pathlib import Path

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.aggregator import Aggregator
from nvflare.app_common.aggregators import InTimeAccumulateWeightedAggregator

from fedgin.data.site import Modality
from fedgin.flare.executor import MODALITY
from fedgin.train.experiment import load_experiment


class ClientWeightedAggregator(Aggregator):
    """FLARE's stock ``InTimeAccumulateWeightedAggregator``, one for all sites or, to balance them, one per modality.

    ``modality_balanced``: a site's update counts by its slices inside its modality, and the result is the plain mean of
    the modalities' means, so that few MR slices are not drowned by many CT slices. ``samples`` and ``uniform``: one
    stock aggregator for all sites, which weighs them by what they report.

    Args:
        experiment: path of ``experiment.yaml`` on the server.
    """

    def __init__(self, experiment: str) -> None:
        super().__init__()
        self.experiment = experiment
        self._groups: dict[str, InTimeAccumulateWeightedAggregator] = {}
        self._accepted: set[str] = set()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Build the stock aggregators when the run starts."""
        if event_type == EventType.START_RUN:
            balanced = load_experiment(Path(self.experiment)).federation.client_weighting == "modality_balanced"
            self._groups = {name: InTimeAccumulateWeightedAggregator() for name in (Modality if balanced else ["all"])}
        for group in self._groups.values():
            group.handle_event(event_type, fl_ctx)

    def accept(self, shareable: Shareable, fl_ctx: FLContext) -> bool:
        """Pass an update on to its group; refuse one that names no known modality."""
        name = "all" if "all" in self._groups else from_shareable(shareable).get_meta_prop(MODALITY)
        if name not in self._groups:
            self.log_error(
                fl_ctx, f"update refused: its modality is {name!r}. Fix: set CT or MR in the site's site.yaml"
            )
            return False
        accepted = bool(self._groups[name].accept(shareable, fl_ctx))
        if accepted:
            self._accepted.add(name)
        return accepted

    def aggregate(self, fl_ctx: FLContext) -> Shareable:
        """Return the weighted mean of this round's updates as a DXO of weight differences.

        A round without any update stops the job: stock FLARE would finish it and call an untrained model a success.
        """
        if not self._accepted:
            self.system_panic("no site's update was accepted this round. Fix: read the sites' logs", fl_ctx)
        means = [from_shareable(self._groups[name].aggregate(fl_ctx)).data for name in sorted(self._accepted)]
        self._accepted = set()
        return DXO(data_kind=DataKind.WEIGHT_DIFF, data=_mean(means)).to_shareable()


def _mean(groups: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Average each entry over the groups that have it."""
    names = {name for group in groups for name in group}
    return {name: np.mean([group[name] for group in groups if name in group], axis=0) for name in sorted(names)}
