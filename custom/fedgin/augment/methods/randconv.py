"""Random convolution (RandConv): one random linear filter for the images of a batch.

Source: Xu et al., "Robust and generalizable visual representation learning via random convolutions", ICLR 2021.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.base import per_sample
from fedgin.augment.checks import check_choice, check_flag, check_number
from fedgin.augment.filters.random_conv import PADDINGS, ConvLayer, random_conv_net
from fedgin.augment.partners import PartneredAugmentation
from fedgin.augment.registry import register

VARIANTS = ("mix", "image")
KERNEL_SIZES = (1, 3, 5, 7)


@dataclass(frozen=True)
class RandConvParams:
    """The filters and how much of the filtered image is mixed in.

    Attributes:
        layer: weights [G, C, C, *kernel] without bias, on the CPU; G is 1, or the batch size with ``per_sample``.
        alpha: float32 [B]; weight of the filtered image, the rest is the image. 0 or 1 in the variant ``image``.
    """

    layer: ConvLayer
    alpha: Tensor


@register("randconv")
class RandConv(PartneredAugmentation[RandConvParams]):
    """Filter the images with a random kernel: result = alpha * (W convolved with x) + (1 - alpha) * x.

    The kernel has k pixels on every axis, k uniform from 1, 3, 5 and 7 where they fit into the image; its weights are
    normal with mean 0 and variance 1 / (channels * k^axes); there is no bias. With one channel k = 1 only scales the
    image, and every kernel inverts the contrast half of the time.

    Args:
        variant: ``mix``: alpha is uniform in [0, 1] (the original's RC_mix, our default); ``image``: alpha is 0 with
            ``identity_probability``, otherwise 1 (the original's RC_img).
        identity_probability: chance in [0, 1] that the variant ``image`` leaves the batch as it is (original: 0.5).
        consistency_weight: see :class:`fedgin.augment.partners.PartneredAugmentation`. The authors advise 10 for
            ``mix`` and 5 for ``image``; their loop draws the second and third view from the augmented image, which we
            do not copy.
        consistency_ramp: see :class:`fedgin.augment.partners.PartneredAugmentation`.
        per_sample: every sample draws its own kernel and alpha (ours); otherwise a batch shares them (original).
        padding: ``reflect`` (our default) or ``zeros`` (original).
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Images may have any intensity unit; the original expects them whitened. The result's range is not bounded.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> always_clean = build_augmentation("randconv", variant="image", identity_probability=1.0)
        >>> bool(torch.equal(always_clean(slices, gen=torch.Generator().manual_seed(1)), slices))
        True
    """

    to_mean = True

    def __init__(
        self,
        *,
        variant: str = "mix",
        identity_probability: float = 0.5,
        consistency_weight: float = 0.0,
        consistency_ramp: float = 0.0,
        per_sample: bool = False,
        padding: str = "reflect",
        probability: float = 1.0,
        background: str = "free",
    ) -> None:
        super().__init__(
            consistency_weight=consistency_weight,
            consistency_ramp=consistency_ramp,
            probability=probability,
            background=background,
        )
        self.variant = check_choice("variant", variant, VARIANTS)
        self.identity_probability = check_number("identity_probability", identity_probability, low=0.0, high=1.0)
        self.per_sample = check_flag("per_sample", per_sample)
        self.padding = check_choice("padding", padding, PADDINGS)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> RandConvParams:
        """Draw kernel sizes, then the kernels, then alpha."""
        batch, channels, spatial = shape[0], shape[1], shape[2:]
        groups = batch if self.per_sample else 1
        pool = [size for size in KERNEL_SIZES if size <= min(spatial)]
        sizes = [pool[i] for i in torch.randint(len(pool), (groups,), generator=gen).tolist()]
        kernels = [_draw_kernel(channels, size, len(spatial), gen) for size in sizes]
        # Zeros around a smaller kernel change nothing and let all samples share one call.
        weight = torch.stack(
            [F.pad(k, [(max(sizes) - size) // 2] * 2 * len(spatial)) for k, size in zip(kernels, sizes, strict=True)]
        )
        alpha = torch.rand(groups, generator=gen)
        if self.variant == "image":
            alpha = (alpha >= self.identity_probability).float()
        return RandConvParams(ConvLayer(weight, torch.zeros(groups, channels)), alpha.expand(batch))

    def transform(self, x: Tensor, params: RandConvParams) -> Tensor:
        """Return the mixture of ``x`` and the filtered image."""
        # The slope is of no consequence: no activation follows the last layer, and there is only one.
        filtered = random_conv_net(x, [params.layer], slope=1.0, padding=self.padding)
        return torch.lerp(x, filtered, per_sample(params.alpha.to(x.device), x.dim()))


def _draw_kernel(channels: int, size: int, axes: int, gen: torch.Generator) -> Tensor:
    deviation = 1 / math.sqrt(channels * size**axes)
    return deviation * torch.randn(channels, channels, *(size,) * axes, generator=gen)
