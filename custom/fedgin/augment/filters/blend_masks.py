"""Random masks that say where each of two versions of an image is shown."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.intensity import to_range

MASKS = ("smooth", "patch", "grid")

Sides = tuple[int, int]

# Points of the random grid, and squares of the checkerboard, along an axis.
_CELLS = 4


def draw_masks(kind: str, count: int, size: Sequence[int], *, gen: torch.Generator) -> Tensor:
    """Return float32 [N, H, W] whose smallest value is 0 and largest 1; a constant mask becomes 0.5.

    Args:
        kind: of RaffeSDG (Li et al., arXiv 2405.01228). ``patch``: 1 in a rectangle with sides from a fifth to half of
            the image's; ``grid``: a checkerboard of 4 x 4, always the same; ``smooth``: the original's masks were not
            released, so ours are standard normal values on 4 x 4 points, interpolated bicubically.
        count: number N of masks.
        size: H and W.
        gen: a CPU generator.
    """
    height, width = size
    if kind == "patch":
        sides = ((max(1, height // 5), max(1, height // 2)), (max(1, width // 5), max(1, width // 2)))
        masks = random_rectangles(count, size, sides=sides, gen=gen).float()
    elif kind == "grid":
        rows, columns = (torch.arange(side) * _CELLS // side for side in size)
        masks = ((rows[:, None] + columns) % 2).float().expand(count, -1, -1)
    else:
        points = torch.randn(count, 1, _CELLS, _CELLS, generator=gen)
        masks = F.interpolate(points, size=(height, width), mode="bicubic")[:, 0]
    return to_range(masks[:, None], 0.0, 1.0)[:, 0]


def random_rectangles(count: int, size: Sequence[int], *, sides: tuple[Sides, Sides], gen: torch.Generator) -> Tensor:
    """Return bool [count, H, W], true in one rectangle each, which lies inside the image.

    Args:
        count: number of masks.
        size: H and W.
        sides: smallest and largest height, then width, in pixels; all between are equally likely, and so is every
            position at which the rectangle fits.
        gen: a CPU generator.
    """
    spans = []
    for length, (low, high) in zip(size, sides, strict=True):
        side = torch.randint(low, high + 1, (count, 1), generator=gen)
        start = torch.randint(2**62, (count, 1), generator=gen) % (length - side + 1)
        index = torch.arange(length)
        spans.append((index >= start) & (index < start + side))
    rows, columns = spans
    return rows[:, :, None] & columns[:, None, :]


def over_batch(masks: Tensor, ndim: int) -> Tensor:
    """Reshape [N, H, W] so that it broadcasts over a batch of ``ndim`` axes, all channels and slices of a sample."""
    return masks.view(len(masks), *(1,) * (ndim - 3), *masks.shape[1:])
