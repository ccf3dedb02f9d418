"""The weighted mean of a round's checked updates, made by FLARE's own aggregators."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.aggregators import InTimeAccumulateWeightedAggregator
from nvflare.app_common.app_constant import AppConstants

from fedgin.data.site import Modality
from fedgin.errors import FedginError
from fedgin.flare.server.guard import Update

ALL = "all"


class AverageError(FedginError):
    """The updates cannot be averaged."""

    code = "FG-073"


class WeightedAverage:
    """One stock aggregator for all sites or, to balance them, one per modality and then the plain mean of these means.

    The stock aggregators see nothing of a site's own message but its checked values.

    Args:
        balanced: whether each modality has the same share, however many slices it has.
    """

    aggregator: type[InTimeAccumulateWeightedAggregator] = InTimeAccumulateWeightedAggregator

    def __init__(self, *, balanced: bool) -> None:
        self._balanced = balanced
        names = list(Modality) if balanced else [ALL]
        self._groups = {str(name): self.aggregator() for name in names}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Tell the stock aggregators of FLARE's events."""
        for group in self._groups.values():
            group.handle_event(event_type, fl_ctx)

    def of(self, updates: Mapping[str, Update], round_number: int, fl_ctx: FLContext) -> DXO:
        """Return the mean of a round's updates as weight differences.

        Args:
            updates: one or more, by site.
            round_number: the round.
            fl_ctx: the context of the round.

        Raises:
            AverageError: the mean holds NaN or infinity.
        """
        used = {self._group(update) for update in updates.values()}
        for site, update in updates.items():
            clean = self._pack(update, len(used)).to_shareable()
            clean.set_peer_props({ReservedKey.IDENTITY_NAME: site})
            clean.add_cookie(AppConstants.CONTRIBUTION_ROUND, round_number)
            if not self._groups[self._group(update)].accept(clean, fl_ctx):
                raise RuntimeError(f"FLARE's aggregator refuses the checked update of site {site}")
        return self._combine([from_shareable(self._groups[name].aggregate(fl_ctx)).data for name in sorted(used)])

    def _group(self, update: Update) -> str:
        return update.contribution.modality if self._balanced else ALL

    def _pack(self, update: Update, groups: int) -> DXO:
        """Return what a stock aggregator gets of an update, where there are so many groups in the round."""
        return to_dxo(update.data, {MetaKey.NUM_STEPS_CURRENT_ROUND: update.contribution.weight})

    def _combine(self, means: Sequence[Mapping[str, Any]]) -> DXO:
        """Average each entry over the groups that have it."""
        names = sorted({name for mean in means for name in mean})
        data = {name: np.mean([mean[name] for mean in means if name in mean], axis=0) for name in names}
        if not all(np.isfinite(entry).all() for entry in data.values()):
            raise AverageError(
                "the average holds NaN or infinity", "lower training.learning_rate, then 'fedgin resume'"
            )
        return to_dxo(data)


def to_dxo(data: Mapping[str, Any], meta: Mapping[str, object] | None = None) -> DXO:
    """Return weight differences as FLARE carries them."""
    return DXO(DataKind.WEIGHT_DIFF, data=dict(data), meta=dict(meta or {}))
