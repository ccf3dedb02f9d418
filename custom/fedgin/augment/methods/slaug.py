"""SLAug: a mild view, and a view of strange contrasts where the network does not look.

Source: Su et al., "Rethinking data augmentation for single-source domain generalization in medical image segmentation"
(SLAug), AAAI 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation, sample_range
from fedgin.augment.checks import check_count
from fedgin.augment.filters.bezier import bezier_map
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.filters.saliency import saliency_map
from fedgin.augment.hooks import Guide
from fedgin.augment.methods.location_scale import LocationScale, LocationScaleParams, scale_and_shift
from fedgin.augment.registry import register

# Background and as many organs as an experiment may have.
CLASSES = 101
_FALLING = 0.5
# Of the range of an image; what is darker stays as it is in the local view.
_AIR = 0.01


@dataclass(frozen=True)
class Fusion:
    """How the second view of a batch is put together.

    Attributes:
        label: int64 [B, 1, *spatial], below :data:`CLASSES`.
        saliency: float32 [B, 1, *spatial] from 0 to 1; share of the global view, the rest is the local one.
    """

    label: Tensor
    saliency: Tensor


@dataclass(frozen=True)
class SLAugParams:
    """The numbers of both views.

    Attributes:
        overall: of the global view, one entry a sample.
        local: of the local view, :data:`CLASSES` entries for each sample, one after the other.
        falling: bool [B * CLASSES]; whose curve inverts the contrast.
        fusion: what the two are fused with; None for the global view alone.
    """

    overall: LocationScaleParams
    local: LocationScaleParams
    falling: Tensor
    fusion: Fusion | None = None


@register("slaug")
class SLAug(Augmentation[SLAugParams]):
    """Train on a global change of grey values, and on its fusion with one that differs from organ to organ.

    The global view is that of :class:`~fedgin.augment.methods.location_scale.LocationScale`. In the local view each
    organ and the background have a curve, a gain and a shift of their own; the curve of the background is always
    inverted, that of an organ every second time, and pixels within 1 % of the darkest stay as they are. The fusion
    shows the global view where the gradient of its loss is large and the local view where it is small:
    s = smoothed gradient from 0 to 1, fusion = s * global + (1 - s) * local. Both losses are added.

    The gradient is that of the network in evaluation mode and costs one more forward and half a backward pass (the
    original takes it from the first of two steps of back-propagation; the views here go through the network together).
    An inverted curve is monotone (the original's need not be). Volumes are ours; the original is 2D.

    A call shows the global view, since labels and gradient are known in training only.

    Args:
        grid_size: cells of the smoothed gradient along each axis: 3 for the abdomen, 18 for the heart (original).
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Images may have any intensity unit; both views stay in the range of the image.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> from fedgin.augment.hooks import Guide
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> guide = Guide(label=(slices > 1).long(), gradient=torch.ones_like)  # training gives the real ones
        >>> slaug = build_augmentation("slaug")
        >>> len(slaug.guided_views(slices, guide, gen=torch.Generator().manual_seed(1)))
        2
    """

    supervised_views = 2

    def __init__(self, *, grid_size: int = 3, probability: float = 1.0, background: str = "free") -> None:
        super().__init__(probability=probability, background=background)
        self.grid_size = check_count("grid_size", grid_size)
        self.mild = LocationScale()

    def guided_views(
        self, image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor | None = None
    ) -> list[Tensor]:
        """Return the global view and the fusion."""
        draw = self.draw(image.shape, gen=gen)
        overall = self.apply(image, draw, body=body)
        fusion = Fusion(guide.label.long(), saliency_map(guide.gradient(overall).float(), self.grid_size))
        # This computes the global view again: a small price for the fusion to pass the same checks.
        return [overall, self.apply(image, replace(draw, params=replace(draw.params, fusion=fusion)), body=body)]

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> SLAugParams:
        """Draw the global view, then the local one, then which curves fall."""
        overall = self.mild.draw_params(shape, gen=gen)
        local = self.mild.draw_params((shape[0] * CLASSES, *shape[1:]), gen=gen)
        falling = torch.rand(shape[0], CLASSES, generator=gen) < _FALLING
        falling[:, 0] = True
        return SLAugParams(overall, local, falling.flatten())

    def transform(self, x: Tensor, params: SLAugParams) -> Tensor:
        """Return the global view, or the fusion."""
        overall = self.mild.transform(x, params.overall)
        if params.fusion is None:
            return overall
        return torch.lerp(_local_view(x, params, params.fusion.label), overall, params.fusion.saliency.to(x.device))


def _local_view(x: Tensor, params: SLAugParams, label: Tensor) -> Tensor:
    """Return each labelled region of each sample with its own curve, gain and shift, in the range of the image."""
    unit = to_range(x, 0.0, 1.0)
    out = unit.clone()
    for sample, regions in enumerate(label.as_subclass(Tensor).to(x.device)):
        for number in regions.unique().tolist():
            inside = (regions == number).expand_as(unit[sample])
            out[sample][inside] = _bend(unit[sample][inside], params, sample * CLASSES + number)
    low, high = sample_range(x)
    return torch.where(unit <= _AIR, x, torch.lerp(low.expand_as(out), high.expand_as(out), out))


def _bend(grey: Tensor, params: SLAugParams, entry: int) -> Tensor:
    """Return the grey values [N] of one region, in [0, 1], after its curve between their extremes, gain and shift."""
    row, one, local = grey[None], slice(entry, entry + 1), params.local
    curve = bezier_map(to_range(row, 0.0, 1.0), local.control[one].to(grey.device))
    low, high = sample_range(row)
    curved = torch.lerp(low, high, 1.0 - curve if bool(params.falling[entry]) else curve)
    return scale_and_shift(curved, local.scale[one], local.shift[one])[0]
