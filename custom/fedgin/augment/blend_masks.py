"""Random masks that say where each of two versions of an image is shown."""

from collections.abc import Sequence

import torch
from torch import Tensor

Sides = tuple[int, int]


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
