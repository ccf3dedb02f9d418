"""Where in an image a loss looks: the gradient's magnitude, smoothed."""

from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.bspline import quadratic_bspline
from fedgin.augment.filters.intensity import to_range

_POOLS = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def saliency_map(gradient: Tensor, grid_size: int) -> Tensor:
    """Smooth the magnitude of a gradient to a map between 0 and 1.

    The magnitude is averaged over a grid of cells, and a quadratic B-spline leads through the cells, of which the outer
    ones lie on the image's border. (SLAug's original lets the map fall towards the border, where it has no cells.)

    Args:
        gradient: float32 [B, C, *spatial], two or three axes.
        grid_size: cells along each axis.

    Returns:
        float32 [B, 1, *spatial]: 0 where the gradient of the sample is smallest, 1 where it is largest, and 0.5
        everywhere if there is none.
    """
    axes = gradient.dim() - 2
    magnitude = gradient.square().mean(1, keepdim=True).sqrt()
    cells = _POOLS[axes](magnitude, grid_size)
    control = F.pad(cells, [1, 1] * axes, mode="replicate")[:, 0]
    return to_range(quadratic_bspline(control, gradient.shape[2:])[:, None], 0.0, 1.0)
