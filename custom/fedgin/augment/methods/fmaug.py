"""Frequency-mixed augmentation (FMAug): an image's high frequencies at two scales, one inside the other.

Source: Li et al., "Frequency-mixed single-source domain generalization for medical image segmentation" (FreeSDG),
MICCAI 2023, arXiv 2307.09005.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.base import Augmentation, Draw
from fedgin.augment.checks import check_count, check_flag, check_number
from fedgin.augment.filters.blend_masks import over_batch, random_rectangles
from fedgin.augment.filters.gaussian_filter import (
    FIXED_KERNEL,
    PUBLISHED_SIZE,
    GaussianKernel,
    fixed_high_frequency,
    high_frequency,
)
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.registry import register

# Pairs (size, standard deviation) = (5, 2), (7, 3), ..., (43, 21).
BANK = tuple(GaussianKernel(radius, float(radius)) for radius in range(2, 22))


@dataclass(frozen=True)
class FMAugParams:
    """The filters and where they apply; each of one entry for the whole batch, or of one a sample.

    Attributes:
        outside: kernels of the filters outside the rectangle.
        inside: kernels of the filters inside the rectangle.
        rectangle: bool, broadcasts over the batch.
    """

    outside: tuple[GaussianKernel, ...]
    inside: tuple[GaussianKernel, ...]
    rectangle: Tensor


@register("fmaug")
class FMAug(Augmentation[FMAugParams]):
    """Show only high frequencies, at a random scale, and at another one inside a random rectangle.

    H(x) = clamp(4 (x - blur(x)), -1, 1) of the image mapped to [-1, 1]. Two of 20 Gaussian blurs are drawn with
    replacement. A second output of the network reconstructs H_{27,9} of the unaugmented image (L1), and at inference
    the network is shown H_{27,9} of the image in place of the image.

    Ours: slices are mapped to [-1, 1] by their own minimum and maximum. The original replaces pixels outside a field
    of view before filtering and sets them to -1 afterwards; that is left out, since no mask is known at inference and
    both must look alike. A flat sample is shown as it is, in training and at inference. Every sample is augmented, as
    in the original: an unfiltered one would have another scale. Volumes are filtered slice by slice with one draw.

    Args:
        reconstruction_weight: the weight of the L1 loss (1 in the original).
        per_sample: draw filters and rectangle for each sample (ours) instead of once for the batch (original).
        reference_size: image side for which the kernel sizes are meant. They are scaled to the shorter side of the
            images, since 43 of 96 pixels are not what 43 of 512 are (the scaling is ours). At 96 pixels the radii 1 to
            4 remain. The images' own side as reference gives the published sizes in pixels.

    Images may have any intensity unit; the result is in [-1, 1].

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> shown = build_augmentation("fmaug")(slices, gen=torch.Generator().manual_seed(1))
        >>> bool(shown.abs().max() <= 1.0)
        True
    """

    extra_channels = 1

    def __init__(
        self, *, reconstruction_weight: float = 1.0, per_sample: bool = False, reference_size: int = PUBLISHED_SIZE
    ) -> None:
        super().__init__()
        self.reconstruction_weight = check_number("reconstruction_weight", reconstruction_weight, low=0.0, high=1e4)
        self.per_sample = check_flag("per_sample", per_sample)
        self.reference_size = check_count("reference_size", reference_size)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> FMAugParams:
        """Draw both filters, then the rectangle: sides from 0 to the image's less 1, anywhere inside."""
        count = shape[0] if self.per_sample else 1
        bank = [kernel.scaled_to(shape, from_size=self.reference_size) for kernel in BANK]
        outside, inside = torch.randint(len(bank), (2, count), generator=gen).tolist()
        height, width = shape[-2:]
        rectangle = random_rectangles(count, (height, width), sides=((0, height - 1), (0, width - 1)), gen=gen)
        return FMAugParams(
            outside=tuple(bank[i] for i in outside),
            inside=tuple(bank[i] for i in inside),
            rectangle=over_batch(rectangle, len(shape)),
        )

    def transform(self, x: Tensor, params: FMAugParams) -> Tensor:
        """Return the high frequencies of both filters, put together along the rectangle."""
        image = to_range(x, -1.0, 1.0)
        inside, outside = (high_frequency(image, kernels) for kernels in (params.inside, params.outside))
        return torch.where(params.rectangle.to(x.device), inside, outside)

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor:
        """Return the weighted mean absolute difference of the extra output from H_{27,9} of the clean image."""
        target = fixed_high_frequency(clean, low=-1.0, from_size=self.reference_size)
        return self.reconstruction_weight * F.l1_loss(extra[0], target)

    def at_inference(self, image: Tensor) -> Tensor:
        """Return H_{27,9} of the image."""
        kernel = FIXED_KERNEL.scaled_to(image.shape, from_size=self.reference_size)
        nowhere = over_batch(torch.zeros(1, *image.shape[-2:], dtype=torch.bool), image.dim())
        return self.apply(image, Draw.for_all(FMAugParams((kernel,), (kernel,), nowhere), len(image)))
