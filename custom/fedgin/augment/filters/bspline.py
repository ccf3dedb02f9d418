"""Smooth fields from a coarse grid of control points, by quadratic B-splines."""

from collections.abc import Sequence

import torch
from torch import Tensor


def control_shape(intervals: int, axes: int) -> tuple[int, ...]:
    """Return the size of the control grid that spans ``intervals`` grid intervals on each of ``axes`` image axes.

    The grid reaches one point beyond the image on each side, so that three control points act on every pixel.
    """
    return (intervals + 3,) * axes


def quadratic_bspline(control: Tensor, shape: Sequence[int]) -> Tensor:
    """Spread control points over an image as a uniform quadratic B-spline.

    Args:
        control: float32 [B, *grid]; the grid of :func:`control_shape`, stretched over the image on every axis.
        shape: the shape of the image, as many axes as the grid.

    Returns:
        float32 [B, *shape]; within the range of the control points, equal to them where they are all the same.
    """
    field = control
    for axis, size in enumerate(shape, start=1):
        weights = _weights(size, control.shape[axis] - 3).to(control.device)
        field = torch.tensordot(field, weights, dims=([1], [1]))
    return field


def _weights(size: int, intervals: int) -> Tensor:
    """Return [pixels, control points]: how much each control point counts at each pixel; rows add up to 1."""
    place = (torch.arange(size) + 0.5) / size * intervals
    distance = (place[:, None] - torch.arange(-1, intervals + 2)).abs()
    return torch.where(distance < 0.5, 0.75 - distance.square(), 0.5 * (1.5 - distance).clamp_min(0).square())
