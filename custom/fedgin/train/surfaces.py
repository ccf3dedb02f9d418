"""How far two surfaces lie apart, in millimetres, with MONAI's metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray

TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class SurfaceScore:
    """Agreement of the surfaces of a predicted and a reference organ.

    Attributes:
        hd95_mm: 95th percentile of the distances between the surfaces, the larger of both directions; the diagonal of
            the image where nothing was predicted.
        surface_dice: share of both surfaces that lies within 2 mm of the other (normalised surface Dice, Nikolov et
            al. 2018); 0 where nothing was predicted.
    """

    hd95_mm: float
    surface_dice: float


def compare_surfaces(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> SurfaceScore:
    """Compare two masks [X, Y, Z]; both values are NaN where the reference is empty.

    An axis with one voxel is left out: the image is a slice, and its outline is the surface.
    """
    if not reference.any():
        return SurfaceScore(math.nan, math.nan)
    if not predicted.any():
        diagonal = math.dist(
            [0.0] * predicted.ndim, [n * mm for n, mm in zip(predicted.shape, spacing_mm, strict=True)]
        )
        return SurfaceScore(diagonal, 0.0)
    axes = [axis for axis, size in enumerate(predicted.shape) if size > 1]
    used = _bounding_box(predicted | reference)
    spacing = [float(spacing_mm[axis]) for axis in axes]
    pair = [_as_batch(mask[used], axes) for mask in (predicted, reference)]
    hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95.0, spacing=spacing)
    dice = compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], include_background=True, spacing=spacing)
    return SurfaceScore(float(hd95), float(dice))


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box around a mask with a margin of one voxel, so that every surface voxel keeps its neighbours."""
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(int(used[0]) - 1, 0), int(used[-1]) + 2))
    return tuple(box)


def _as_batch(mask: NDArray[np.bool_], axes: Sequence[int]) -> torch.Tensor:
    """Return [1, 1, *axes]."""
    return torch.from_numpy(mask.reshape([mask.shape[axis] for axis in axes]).copy())[None, None]
