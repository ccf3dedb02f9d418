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
    """Pixels [rows, columns] on the grid of an image.

    Attributes:
        grid: of the image.
        size: (rows, columns).
        origin: where the centre of the first pixel is, in indices [3] of the grid.
        steps: vectors [2, 3] from one row, and from one column, to the next, in indices of the grid.
        between_slices: distance in mm to the next plane as the header states it; 0 when it does not.
        thickness: in mm as the header states it; 0 when it does not.
        slice_thickness: of the image in mm as its header states it; 0 when it does not. Where slices overlap, it
            is above their spacing.
    """

    grid: VolumeGeometry
    size: tuple[int, int]
    origin: NDArray[np.float64]
    steps: NDArray[np.float64]
    between_slices: float
    thickness: float
    slice_thickness: float

    @classmethod
    def of_frame(
        cls, frame: pydicom.Dataset, size: tuple[int, int], grid: VolumeGeometry, *, slice_thickness: float
    ) -> "Plane":
        """Read the geometry of a frame; ``slice_thickness`` is that of the image in mm, 0 when unknown.

        Raises:
            ValueError: it has none.
        """
        along_row, along_column = np.array(numbers(frame, "ImageOrientationPatient")).reshape(2, 3)
        between_rows, between_columns = numbers(frame, "PixelSpacing")
        steps_mm = np.stack([along_column * between_rows, along_row * between_columns])
        origin_mm = np.array(numbers(frame, "ImagePositionPatient")).reshape(3)
        to_indices = np.linalg.inv(grid.affine[:3, :3]).T
        return cls(
            grid,
            size,
            (origin_mm - grid.affine[:3, 3]) @ to_indices,
            steps_mm @ to_indices,
            abs(number(frame, "SpacingBetweenSlices", 0.0)),
            number(frame, "SliceThickness", 0.0),
            slice_thickness,
        )

    @property
    def lies_on_grid(self) -> bool:
        """Tell whether the pixels are voxels of the grid, or would be if the grid went on."""
        turned = np.rint(self.steps)
        if not (np.abs(turned).sum(axis=1) == 1).all() or (turned[0] == turned[1]).all():
            return False
        if not self._is_one_voxel_thick:
            return False
        last_row, last_column = self.size[0] - 1, self.size[1] - 1
        corners = np.array([(0, 0), (0, last_column), (last_row, 0), (last_row, last_column)])
        indices = self._indices(corners)
        # Pixels of another size may meet voxels at all corners; so far from the first one they meet these alone.
        voxels = np.rint(indices[0]) + corners @ turned
        off = np.abs(indices - voxels) * self.grid.spacing
        return bool(off.max() <= POSITION_TOLERANCE_MM + _ROUNDING_MM)

    @property
    def _is_one_voxel_thick(self) -> bool:
        """Tell whether the plane holds one slice of the image, by the distance to the next or else by its thickness."""
        spacing = self.grid.spacing[self.axis]
        if self.between_slices:
            return round(self.between_slices / spacing) == 1
        return round(self.thickness / max(spacing, self.slice_thickness if self.axis == 0 else 0.0)) <= 1

    @property
    def axis(self) -> int:
        """Return the axis of the grid that leads from plane to plane; the plane lies on the grid."""
        rows, columns = np.abs(self.steps).argmax(axis=1)
        return 3 - int(rows) - int(columns)

    def places(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...] | None:
        """Return the voxel indices (one array an axis of the grid) of the pixels in ``mask``.

        ``None`` when the plane does not lie on the grid, or a pixel is outside.
        """
        if not self.lies_on_grid:
            return None
        indices = np.rint(self._indices(np.argwhere(mask))).astype(np.int64)
        inside = ((indices >= 0) & (indices < self.grid.spatial_shape)).all()
        return tuple(indices.T) if inside else None

    def _indices(self, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return where pixels [N, (row, column)] are, in indices [N, 3] of the grid."""
        return np.asarray(self.origin + pixels @ self.steps)
