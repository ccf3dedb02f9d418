"""Views that are trained on side by side: a partner of the draw, and predictions that should agree."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation
from fedgin.augment.checks import check_choice, check_number
from fedgin.augment.filters.consistency import divergence_from_mean
from fedgin.augment.methods.location_scale import LocationScale

ParamsT = TypeVar("ParamsT")
PARTNERS = ("none", "clean", "location_scale")
# How many draws the originals of GIN and RandConv compare when nothing else is shown.
COMPARED = 3


class PartneredAugmentation(Augmentation[ParamsT]):
    """An augmentation that trains on a partner of its draw too, or compares the predictions of several views.

    Args:
        partner: what is segmented beside the draw, with the sum of both losses: ``none``, the ``clean`` image, or a
            mild view of it, ``location_scale``.
        consistency_weight: above 0, this weight times the divergence of the views' predictions from their mean is
            added. The views are the partner and the draw; without a partner, three draws.
        consistency_ramp: share of the run's steps over which that weight rises from 0; 0 is FedGIN and the originals.
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Attributes:
        to_mean: the direction of the divergence, see :func:`~fedgin.augment.filters.consistency.divergence_from_mean`.

    Raises:
        ConfigError: an argument is out of range.
    """

    to_mean: bool = False

    def __init__(
        self,
        *,
        partner: str = "none",
        consistency_weight: float = 0.0,
        consistency_ramp: float = 0.0,
        probability: float = 1.0,
        background: str = "free",
    ) -> None:
        super().__init__(probability=probability, background=background)
        self.partner = check_choice("partner", partner, PARTNERS)
        self.consistency_weight = check_number("consistency_weight", consistency_weight, low=0.0, high=1e4)
        self.consistency_ramp = check_number("consistency_ramp", consistency_ramp, low=0.0, high=1.0)
        self.supervised_views = 1 if partner == "none" else 2

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return the partner, if there is one, and the draw, or three draws that are compared."""
        if self.partner != "none":
            return [self._partner_view(image, gen, body), self(image, gen=gen, body=body)]
        return [self(image, gen=gen, body=body) for _ in range(COMPARED if self.consistency_weight else 1)]

    def _partner_view(self, image: Tensor, gen: torch.Generator, body: Tensor | None) -> Tensor:
        if self.partner == "clean":
            return image
        return LocationScale(background=self.background)(image, gen=gen, body=body)

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor | None:
        """Return the weighted divergence of the predictions from their mean."""
        if not self.consistency_weight:
            return None
        risen = min(1.0, self.progress / self.consistency_ramp) if self.consistency_ramp else 1.0
        return self.consistency_weight * risen * divergence_from_mean(logits, to_mean=self.to_mean)
