"""Random Butterworth high-pass filters without mixing: what the first author of FedGIN's second repository calls FMAug.

Source: the file FMaug.py of that repository (sachugowda/domain-normalization-multi-modal), described from its facts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation, Draw
from fedgin.augment.checks import check_flag
from fedgin.augment.filters.butterworth import HighPass, filter_image, percentile_normalise
from fedgin.augment.registry import register

RATIOS = tuple(step / 100 for step in range(1, 11))
ORDER = 2


@register("fmaug_butterworth")
class FMAugButterworth(Augmentation[tuple[HighPass, ...]]):
    """Show the image through one of ten high-pass filters: no blending, no unfiltered images, no second output.

    Cut-offs are 1 to 10 % of the highest frequency, of order 2. The filtered image is mapped so that its 3rd and 97th
    percentiles become 0 and 1, without clipping; a channel whose percentiles meet is left as it is.

    Fixes of ours: the filter is symmetric, the real part is taken instead of the magnitude, which would fold negative
    values, and filters are computed at the images' size instead of at 512 pixels and then resized. At 96 pixels the
    ten cut-offs become 1, 1, 1, 1, 2, 2, 3, 3, 4 and 4 cycles per image. What the original showed at inference is
    unknown; we show the image through the mildest of the filters, so that the network meets the scale it was trained
    on. Every sample is filtered. Volumes are filtered slice by slice with one draw.

    Args:
        per_sample: draw a filter for each sample (ours) instead of once for the batch (original).

    Images may have any intensity unit; most of the result is in [0, 1].

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> shown = build_augmentation("fmaug_butterworth")(slices, gen=torch.Generator().manual_seed(1))
        >>> percentiles = torch.stack([shown[0].quantile(0.03), shown[0].quantile(0.97)])
        >>> bool(torch.allclose(percentiles, torch.tensor([0.0, 1.0]), atol=1e-2))
        True
    """

    def __init__(self, *, per_sample: bool = False) -> None:
        super().__init__()
        self.per_sample = check_flag("per_sample", per_sample)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> tuple[HighPass, ...]:
        """Draw the filter of each sample, or one for all."""
        choices = torch.randint(len(RATIOS), (shape[0] if self.per_sample else 1,), generator=gen)
        return tuple(HighPass.at_ratio(RATIOS[choice], ORDER, shape) for choice in choices.tolist())

    def transform(self, x: Tensor, params: tuple[HighPass, ...]) -> Tensor:
        """Return the filtered and normalised image."""
        return percentile_normalise(filter_image(x, params), x)

    def at_inference(self, image: Tensor) -> Tensor:
        """Return the image through the mildest filter."""
        mildest = HighPass.at_ratio(RATIOS[0], ORDER, image.shape)
        return self.apply(image, Draw.for_all((mildest,), len(image)))
