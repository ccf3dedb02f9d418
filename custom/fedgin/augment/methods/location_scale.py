"""Location-scale augmentation: a mild change of contrast that never inverts it.

Source: Su et al., "Rethinking data augmentation for single-source domain generalization in medical image segmentation"
(SLAug), AAAI 2023, its global location-scale augmentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation, per_sample, sample_range
from fedgin.augment.filters.bezier import bezier_map
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.registry import register

_SCALE_STD, _SCALE_BOUNDS = 0.1, (0.9, 1.1)
_SHIFT_STD = 0.5
# A shift brings at most this share of the pixels to the darkest, or to the brightest value.
_CLIPPED = 0.2


@dataclass(frozen=True)
class LocationScaleParams:
    """A curve, a gain and a shift for each sample, on the CPU.

    Attributes:
        control: float32 [B, 2, 2], inner control points of the curve, uniform in [0, 1].
        scale: float32 [B], in [0.9, 1.1].
        shift: float32 [B], normal with deviation 0.5, before its bounds, which depend on the image.
    """

    control: Tensor
    scale: Tensor
    shift: Tensor


@register("location_scale")
class LocationScale(Augmentation[LocationScaleParams]):
    """Bend the grey values with a monotone curve, then scale and shift them inside the range of the image.

    With the image in [0, 1]: c = curve(x), result = clip(scale * c + shift, 0, 1), mapped back to the image's own
    range. The shift lies between minus the 20th percentile of c and 1 minus its 80th. Dark stays dark: of two pixels
    the brighter one is never the darker one afterwards.

    Args:
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Images may have any intensity unit.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> ramp = torch.linspace(-1.0, 3.0, 64).reshape(1, 1, 8, 8)
        >>> shown = build_augmentation("location_scale")(ramp, gen=torch.Generator().manual_seed(1))
        >>> bool((shown.flatten().diff() >= 0).all())
        True
    """

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> LocationScaleParams:
        """Draw the curves, then the gains, then the shifts."""
        control = torch.rand(shape[0], 2, 2, generator=gen)
        scale = (1.0 + _SCALE_STD * torch.randn(shape[0], generator=gen)).clamp(*_SCALE_BOUNDS)
        return LocationScaleParams(control, scale, _SHIFT_STD * torch.randn(shape[0], generator=gen))

    def transform(self, x: Tensor, params: LocationScaleParams) -> Tensor:
        """Return the bent, scaled and shifted images in the range of each image."""
        curved = bezier_map(to_range(x, 0.0, 1.0), params.control.to(x.device))
        unit = scale_and_shift(curved, params.scale, params.shift)
        low, high = sample_range(x)
        return torch.lerp(low.expand_as(unit), high.expand_as(unit), unit)


def scale_and_shift(curved: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return clip(scale * curved + shift, 0, 1), with each shift bounded by the percentiles of its sample.

    Args:
        curved: float32 [B, ...] in [0, 1].
        scale: float32 [B].
        shift: float32 [B].
    """
    # Both in one call, which sorts the pixels once: half of the time of this method is spent on that.
    low, high = curved.flatten(1).quantile(curved.new_tensor([_CLIPPED, 1.0 - _CLIPPED]), dim=1)
    bounded = shift.to(curved.device).clamp(-low, 1.0 - high)
    return (curved * per_sample(scale.to(curved.device), curved.dim()) + per_sample(bounded, curved.dim())).clamp(0, 1)
