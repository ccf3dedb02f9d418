"""No augmentation, under the name ``none``: the baseline arm of a study."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation
from fedgin.augment.registry import register


@register("none")
class Identity(Augmentation[None]):
    """Give every image back as it is; a baseline arm needs no special case.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> bool(torch.equal(build_augmentation("none")(slices, gen=torch.Generator()), slices))
        True
    """

    def __init__(self) -> None:
        super().__init__()

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> None:
        """Draw nothing."""

    def transform(self, x: Tensor, params: None) -> Tensor:
        """Return ``x``."""
        return x
