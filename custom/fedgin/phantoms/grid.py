"""The voxel grid a phantom is evaluated on, in millimetre patient coordinates.

Patient coordinates are RAS as NIfTI defines them: +x points to the patient's right, +y to the front, +z to the head.
The origin lies in the midline in front of the spine, level with the middle of the kidneys in an abdomen and with the
top of the right half of the diaphragm in a thorax.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
FloatArray = NDArray[np.float32]

FIELD_OF_VIEW_MM: Vector = (360.0, 300.0, 200.0)
CENTRE_MM: Vector = (0.0, 4.0, 34.0)


@dataclass(frozen=True)
class Grid:
    """An axis-aligned grid: voxels along (x, y, z), millimetres per voxel, and the centre of voxel (0, 0, 0)."""

    shape: tuple[int, int, int]
    spacing: Vector
    origin: Vector

    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the millimetre coordinates of the voxel centres along x, y and z."""
        x, y, z = (
            (start + step * np.arange(count)).astype(np.float32)
            for start, step, count in zip(self.origin, self.spacing, self.shape, strict=True)
        )
        return x, y, z

    def affine(self) -> NDArray[np.float64]:
        """Return the 4x4 matrix from voxel indices to RAS millimetres."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = self.origin
        return affine

    def voxel_ml(self) -> float:
        """Return the volume of one voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0


def trunk_grid(in_plane_mm: float, slice_mm: float) -> Grid:
    """Return the grid that covers 360 x 300 x 200 mm of the trunk, about, with the given voxel size."""
    spacing = (in_plane_mm, in_plane_mm, slice_mm)
    nx, ny, nz = (round(extent / step) for extent, step in zip(FIELD_OF_VIEW_MM, spacing, strict=True))
    x, y, z = (
        middle - step * (count - 1) / 2 for middle, step, count in zip(CENTRE_MM, spacing, (nx, ny, nz), strict=True)
    )
    return Grid((nx, ny, nz), spacing, (x, y, z))
