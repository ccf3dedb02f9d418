"""Interventional pseudo-correlation augmentation (IPA): two GIN images woven together by a smooth random map.

Source: Ouyang et al., "Causality-inspired single-source domain generalization for medical image segmentation", IEEE
TMI 2022, arXiv 2111.12525.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedgin.augment.base import Augmentation
from fedgin.augment.filters.bspline import control_shape, quadratic_bspline
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.gin import GIN, GINParams
from fedgin.augment.registry import register

# The original's control points are 48 pixels apart on images of 192.
_INTERVALS = 4
_MAGNITUDE = 0.3


@dataclass(frozen=True)
class IPAParams:
    """Two GIN draws and the map that tells where each is seen.

    Attributes:
        inside: GIN's draw where the map is 1.
        outside: GIN's draw where the map is 0.
        control: float32 [B, *grid], the map's control points, each sample of norm 1.
    """

    inside: GINParams
    outside: GINParams
    control: Tensor


@register("ipa")
class IPA(Augmentation[IPAParams]):
    """Give different parts of an image different random contrasts, so that what co-occurs does not correlate.

    For each sample: u, v = two GIN images; b = a smooth random map from 0 to 1; result = b * u + (1 - b) * v. A second
    view exchanges u and v, and the predictions of both views are asked to agree (original).

    The map is a quadratic B-spline of normal control points scaled to norm 1, times 0.3, exponentiated, and mapped to
    [0, 1] per sample. The grid has four intervals along each axis, as the original's on its 192 x 192 images (it
    computes on half the resolution, which we leave out). Volumes are ours; the original is 2D.

    Args:
        consistency_weight: above 0, each step uses both views: the segmentation loss is of the first, and this weight
            times the divergence of the predictions from their mean is added as in GIN (original: 10, and a mean over
            classes too). 0 trains on the first view alone.
        padding: the padding of GIN, ``reflect`` (our default) or ``zeros`` (original).
        probability: see :class:`fedgin.augment.base.Augmentation`.
        background: see :class:`fedgin.augment.base.Augmentation`.

    Images may have any intensity unit. The norm is not that of the image any more, since u and v are mixed.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> import torch
        >>> from fedgin.augment import build_augmentation
        >>> slices = torch.randn(2, 1, 64, 64)
        >>> ipa = build_augmentation("ipa", consistency_weight=10.0)
        >>> [tuple(view.shape) for view in ipa.views(slices, gen=torch.Generator().manual_seed(1))]
        [(2, 1, 64, 64), (2, 1, 64, 64)]
    """

    def __init__(
        self,
        *,
        consistency_weight: float = 10.0,
        padding: str = "reflect",
        probability: float = 1.0,
        background: str = "free",
    ) -> None:
        super().__init__(probability=probability, background=background)
        self.gin = GIN(consistency_weight=consistency_weight, padding=padding)

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return one image, or two with u and v exchanged where predictions are compared."""
        draw = self.draw(image.shape, gen=gen)
        first = self.apply(image, draw, body=body)
        if not self.gin.consistency_weight:
            return [first]
        params = replace(draw.params, inside=draw.params.outside, outside=draw.params.inside)
        # This computes u and v again: a small price for the second view to pass the same checks as the first.
        return [first, self.apply(image, replace(draw, params=params), body=body)]

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor | None:
        """Return the weighted divergence of the predictions from their mean, as GIN has it."""
        return self.gin.extra_loss(logits, extra, clean)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> IPAParams:
        """Draw two GIN networks, then the control points."""
        inside, outside = (self.gin.draw_params(shape, gen=gen) for _ in range(2))
        control = torch.randn(shape[0], *control_shape(_INTERVALS, len(shape) - 2), generator=gen)
        norm = torch.linalg.vector_norm(control, dim=tuple(range(1, control.dim())), keepdim=True)
        return IPAParams(inside, outside, control / norm)

    def transform(self, x: Tensor, params: IPAParams) -> Tensor:
        """Return u where the map is 1 and v where it is 0, and mixtures between."""
        u, v = (self.gin.transform(x, draw) for draw in (params.inside, params.outside))
        return torch.lerp(v, u, blend_map(params.control.to(x.device), x.shape[2:]))


def blend_map(control: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the map of ``control`` [B, *grid] on an image of ``shape``: float32 [B, 1, *shape], from 0 to 1."""
    field = quadratic_bspline(control, shape)
    return to_range((_MAGNITUDE * field).exp()[:, None], 0.0, 1.0)
