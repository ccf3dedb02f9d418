"""How far two surfaces lie apart, in millimetres.

The values are those of MONAI's ``compute_hausdorff_distance`` and ``compute_surface_dice``; a test holds them equal.
MONAI computes distance maps of the whole box around both masks, a minute for a CT case with a few stray voxels; the
distances between surface points alone (scipy's k-d tree) take a second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from fedgin.data.regions import bounding_box

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

    Example:
        >>> import numpy as np
        >>> reference = np.zeros((8, 8, 8), dtype=bool)
        >>> reference[2:6, 2:6, 2:6] = True
        >>> moved = np.roll(reference, 1, axis=2)  # by one slice of 3 mm
        >>> compare_surfaces(moved, reference, (1.0, 1.0, 3.0)).hd95_mm
        3.0
        >>> compare_surfaces(reference, reference, (1.0, 1.0, 3.0)).surface_dice
        1.0
    """
    if not reference.any():
        return SurfaceScore(math.nan, math.nan)
    if not predicted.any():
        diagonal = math.dist(
            [0.0] * predicted.ndim, [n * mm for n, mm in zip(predicted.shape, spacing_mm, strict=True)]
        )
        return SurfaceScore(diagonal, 0.0)
    thick = [axis for axis, size in enumerate(predicted.shape) if size > 1]
    # With a margin of one voxel, so that every voxel of a surface keeps its neighbours.
    used = bounding_box(predicted | reference, margin=1)
    assert used is not None, "the reference is not empty"
    spacing = np.array([spacing_mm[axis] for axis in thick])
    first, second = (_surface(_without_flat_axes(mask, used), spacing) for mask in (predicted, reference))
    there, back = cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]
    near = np.count_nonzero(there <= TOLERANCE_MM) + np.count_nonzero(back <= TOLERANCE_MM)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return SurfaceScore(float(hd95), float(near / (there.size + back.size)))


def _without_flat_axes(mask: NDArray[np.bool_], used: tuple[slice, ...]) -> NDArray[np.bool_]:
    flat = tuple(axis for axis, size in enumerate(mask.shape) if size == 1)
    return mask[used].squeeze(flat)


def _surface(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positions [N, axes] in mm of the voxels with a face that is not in the mask."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing
