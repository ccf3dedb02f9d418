"""RaffeSDG: random frequency filters of one image, blended, with a head that learns its structure.

Source: Li et al., "RaffeSDG", arXiv 2405.01228.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.base import Augmentation, Draw
from fedgin.augment.checks import check_choice, check_count, check_flag
from fedgin.augment.filters.blend_masks import MASKS, draw_masks, over_batch
from fedgin.augment.filters.butterworth import HighPass, filter_image, percentile_normalise
from fedgin.augment.filters.gaussian_filter import PUBLISHED_SIZE, fixed_high_frequency
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.registry import register

PARTS = ("real", "abs")

RATIOS = tuple(0.1 * math.expm1(4.1 * step / 11) / math.expm1(4.1) for step in range(12))
ORDERS = (1, 2, 3)
# The published pool holds 12 entries beside the 36 that leave the image alone; a cut-off of 0 lets everything pass.
IDENTITY = HighPass(0.0, 1)
IDENTITIES = 12

INFERENCE_FILTERS = {"none": IDENTITY, "butterworth_d0_1": HighPass(1.0, 1)}


def filter_bank(side: int, *, remain_original: bool) -> list[HighPass]:
    """Return the pool for images of ``side`` pixels: 36 high-passes, and 12 identities if they are asked for."""
    bank = [HighPass.at_ratio(ratio, order, (side, side)) for ratio in RATIOS for order in ORDERS]
    return bank + [IDENTITY] * (IDENTITIES if remain_original else 0)


@dataclass(frozen=True)
class RaffeSDGParams:
    """The filters and how they are blended; each of one entry for the whole batch, or of one a sample.

    Attributes:
        first: filters that show where ``weight`` is 1.
        second: filters that show where it is 0.
        weight: float32 in [0, 1], broadcasts over the batch.
    """

    first: tuple[HighPass, ...]
    second: tuple[HighPass, ...]
    weight: Tensor


@register("raffesdg")
class RaffeSDG(Augmentation[RaffeSDGParams]):
    """Show two random frequency filters of an image, blended from place to place.

    The image is mapped to [0, 1] and filtered twice, with filters drawn on their own from 36 Butterworth high-passes
    (12 cut-offs, orders 1 to 3) and 12 identities. Each is mapped so that its 3rd and 97th percentiles become 0 and 1,
    without clipping (a channel whose percentiles meet stays unfiltered in [0, 1]), then they are blended with a random
    mask. A second output of the network reconstructs the Gaussian high frequencies of the unaugmented image (mean
    squared error, weight 1), and at inference the network is shown a filtered image too.

    Fixes of ours: symmetric filters, and the real part in place of the magnitude. Ours: slices are mapped to [0, 1]
    by their own minimum and maximum, since the image to be filtered has no unit here; the original's smooth masks were
    not released (see :func:`fedgin.augment.filters.blend_masks.draw_masks`); the second output is one more channel of
    the last layer, without the original's coupling of two decoders; its Gaussian is scaled from 512 pixels to the
    images. No mask of the field of view is applied, since none is known at inference. Volumes are filtered slice by
    slice with one draw.

    Cut-offs are whole cycles per image side: at the published 512 pixels 1 (five times), 2, 3, 5, 8, 11, 17 and 25.
    The same numbers of cycles are used whatever the image's size, since the same field of view then loses the same
    structures (ours). Floored anew for 96 pixels nine of twelve would be 1, and the method close to doing nothing.

    Args:
        remain_original: have the identities in the pool (the published command does).
        mask: ``smooth`` (published choice), ``patch`` or ``grid``.
        saliency: have the second output and its loss.
        inference_filter: ``butterworth_d0_1`` (original: cut-off 1, order 1), or ``none``, which maps the image by its
            percentiles only, as the identities do in training.
        reference_size: image side for which the cut-offs are computed, in pixels.
        part: the part of the filtered image: ``real``, or ``abs``, the magnitude, as published.
        per_sample: draw filters and mask for each sample (ours) instead of once for the batch (original).

    Images may have any intensity unit; most of the result is in [0, 1].

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> method = build_augmentation("raffesdg")
        >>> method.extra_channels  # the reconstruction of high frequencies
        1
        >>> tuple(method(slices, gen=torch.Generator().manual_seed(1)).shape)
        (2, 1, 64, 64)
    """

    def __init__(
        self,
        *,
        remain_original: bool = True,
        mask: str = "smooth",
        saliency: bool = True,
        inference_filter: str = "butterworth_d0_1",
        reference_size: int = PUBLISHED_SIZE,
        part: str = "real",
        per_sample: bool = False,
    ) -> None:
        super().__init__()
        self.remain_original = check_flag("remain_original", remain_original)
        self.mask = check_choice("mask", mask, MASKS)
        self.saliency = check_flag("saliency", saliency)
        self.inference_filter = check_choice("inference_filter", inference_filter, tuple(INFERENCE_FILTERS))
        self.reference_size = check_count("reference_size", reference_size)
        self.part = check_choice("part", part, PARTS)
        self.per_sample = check_flag("per_sample", per_sample)
        self.extra_channels = int(self.saliency)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> RaffeSDGParams:
        """Draw both filters, then the mask."""
        count = shape[0] if self.per_sample else 1
        bank = filter_bank(self.reference_size, remain_original=self.remain_original)
        first, second = torch.randint(len(bank), (2, count), generator=gen).tolist()
        weight = draw_masks(self.mask, count, shape[-2:], gen=gen)
        return RaffeSDGParams(
            first=tuple(bank[i] for i in first),
            second=tuple(bank[i] for i in second),
            weight=over_batch(weight, len(shape)),
        )

    def transform(self, x: Tensor, params: RaffeSDGParams) -> Tensor:
        """Return the blend of the two filtered and normalised images."""
        image = to_range(x, 0.0, 1.0)
        first, second = (self._filtered(image, filters) for filters in (params.first, params.second))
        return torch.lerp(second, first, params.weight.to(x.device))

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor | None:
        """Return the mean squared difference of the extra output from the Gaussian high frequencies, if it is asked."""
        return F.mse_loss(extra[0], fixed_high_frequency(clean, low=0.0)) if self.saliency else None

    def at_inference(self, image: Tensor) -> Tensor:
        """Return the image through the inference filter, normalised."""
        fixed = (INFERENCE_FILTERS[self.inference_filter],)
        return self.apply(image, Draw.for_all(RaffeSDGParams(fixed, fixed, torch.ones(())), len(image)))

    def _filtered(self, image: Tensor, filters: Sequence[HighPass]) -> Tensor:
        filtered = filter_image(image, filters)
        return percentile_normalise(filtered.abs() if self.part == "abs" else filtered, image)
