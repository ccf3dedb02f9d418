"""A plane of a segmentation in space: which voxels of an image its pixels are, without resampling."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pydicom
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray

from fedgin.data.dicom.elements import number, numbers
from fedgin.data.dicom.stack import POSITION_TOLERANCE_MM

# Binary fractions: a position on the tolerance must not fall on either side by chance.
_ROUNDING_MM = 1e-6


def lies_on_every_nth(drawn: Collection[int], at_least: int) -> bool:
    """Tell whether an organ is drawn on so many slices or more, and all of them are on every n-th one, n above 1."""
    return len(drawn) >= at_least and bool(np.gcd.reduce(np.diff(sorted(drawn))) > 1)


@dataclass(frozen=True)
class Plane:
    """Pixels [rows, columns] in space.

    Attributes:
        size: (rows, columns).
        origin: centre of the first pixel, LPS+ mm.
        steps: vectors [2, 3] in mm from one row, and from one column, to the next.
        between_slices: distance in mm to the next plane as the header states it; 0 when it does not.
    """

    size: tuple[int, int]
    origin: NDArray[np.float64]
    steps: NDArray[np.float64]
    between_slices: float

    @classmethod
    def of_frame(cls, frame: pydicom.Dataset, size: tuple[int, int]) -> "Plane":
        """Read the geometry of a frame.

        Raises:
            ValueError: it has none.
        """
        along_row, along_column = np.array(numbers(frame, "ImageOrientationPatient")).reshape(2, 3)
        between_rows, between_columns = numbers(frame, "PixelSpacing")
        return cls(
            size,
            np.array(numbers(frame, "ImagePositionPatient")).reshape(3),
            np.stack([along_column * between_rows, along_row * between_columns]),
            abs(number(frame, "SpacingBetweenSlices", 0.0)),
        )

    def lies_on(self, grid: VolumeGeometry) -> bool:
        """Tell whether the pixels are voxels of the grid, or would be if the grid went on."""
        turned = self._turned(grid)
        if not (np.abs(turned).sum(axis=1) == 1).all() or (turned[0] == turned[1]).all():
            return False
        if self.between_slices and round(self.between_slices / grid.spacing[_normal(turned)]) != 1:
            return False
        last_row, last_column = self.size[0] - 1, self.size[1] - 1
        corners = np.array([(0, 0), (0, last_column), (last_row, 0), (last_row, last_column)])
        indices = self._indices(corners, grid)
        # Pixels of another size may meet voxels at all corners; so far from the first one they meet these alone.
        voxels = np.rint(indices[0]) + corners @ turned
        off = np.abs(indices - voxels) * grid.spacing
        return bool(off.max() <= POSITION_TOLERANCE_MM + _ROUNDING_MM)

    def axis(self, grid: VolumeGeometry) -> int:
        """Return the axis of the grid that leads from plane to plane; the plane lies on the grid."""
        return _normal(self._turned(grid))

    def places(self, mask: NDArray[np.bool_], grid: VolumeGeometry) -> tuple[NDArray[np.int64], ...] | None:
        """Return the voxel indices (one array an axis of the grid) of the pixels in ``mask``.

        ``None`` when the plane does not lie on the grid, or a pixel is outside.
        """
        if not self.lies_on(grid):
            return None
        indices = np.rint(self._indices(np.argwhere(mask), grid)).astype(np.int64)
        inside = ((indices >= 0) & (indices < grid.spatial_shape)).all()
        return tuple(indices.T) if inside else None

    def _turned(self, grid: VolumeGeometry) -> NDArray[np.float64]:
        """Return the steps [2, 3] in whole voxels of the grid."""
        return np.rint(self.steps @ np.linalg.inv(grid.affine[:3, :3]).T)

    def _indices(self, pixels: NDArray[np.int64], grid: VolumeGeometry) -> NDArray[np.float64]:
        """Return where pixels [N, (row, column)] are, in indices [N, 3] of the grid."""
        points = self.origin + pixels @ self.steps
        return np.asarray((points - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T)


def _normal(turned: NDArray[np.float64]) -> int:
    return 3 - int(np.flatnonzero(turned[0])[0]) - int(np.flatnonzero(turned[1])[0])
