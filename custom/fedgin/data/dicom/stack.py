"""Order the slices of a series and give them one grid; the geometry is highdicom's, from position and orientation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.spatial import get_volume_positions
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray

from fedgin.data.dicom.header import SliceHeader
from fedgin.data.dicom.reasons import Reason

# A slice may be this far in mm from where the regular grid puts it: scanners round positions, they do not move them.
POSITION_TOLERANCE_MM = 0.05
# Stored axes nearest to left, anterior, superior: what common DICOM converters write for axial series.
STORED_ORIENTATION = "LAS"


@dataclass(frozen=True)
class Stack:
    """Slices in spatial order with their grid.

    Attributes:
        slices: ordered along the slice axis of ``geometry``.
        geometry: grid with axes (slice, row, column), LPS+ mm.
    """

    slices: list[SliceHeader]
    geometry: VolumeGeometry

    @property
    def target(self) -> VolumeGeometry:
        """Return the same grid with axes as they are stored, (X, Y, Z) nearest to left, anterior, superior."""
        return self.geometry.to_patient_orientation(STORED_ORIENTATION)


def stack_slices(slices: Sequence[SliceHeader]) -> Stack | Reason:
    """Put slices of one size and orientation into spatial order, or say why they are no regular stack."""
    first = slices[0]
    positions = np.array([item.position for item in slices])
    spacing, order = get_volume_positions(positions, first.facts.orientation)
    if spacing is None or order is None:
        return _fault(positions, first.facts.orientation)
    ordered = [slices[index] for index in np.argsort(order)]
    geometry = VolumeGeometry.from_attributes(
        image_position=ordered[0].position,
        image_orientation=first.facts.orientation,
        rows=first.facts.size[0],
        columns=first.facts.size[1],
        pixel_spacing=first.facts.spacing,
        spacing_between_slices=spacing,
        number_of_frames=len(ordered),
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.facts.frame or None,
    )
    stack = Stack(ordered, geometry)
    return _misplaced(stack) or stack


def _fault(positions: NDArray[np.float64], orientation: Sequence[float]) -> Reason:
    """Find the allowance under which the positions would be regular: that is what is wrong with them."""
    rounded = positions.round(3)
    allowances: list[tuple[Reason, dict[str, float | bool]]] = [
        (Reason.DUPLICATE_SLICE, {"allow_duplicate_positions": True}),
        (Reason.MISSING_SLICE, {"allow_missing_positions": True}),
        (Reason.DUPLICATE_SLICE, {"allow_duplicate_positions": True, "allow_missing_positions": True}),
        (Reason.SHEARED, {"perpendicular_tol": 1.0}),
    ]
    for reason, allowance in allowances:
        if get_volume_positions(rounded, orientation, **allowance)[0] is not None:
            return reason
    return Reason.NON_UNIFORM_SPACING


def _misplaced(stack: Stack) -> Reason | None:
    """Hold every slice against the grid: highdicom allows 2.5 degrees of shear, which is centimetres over a trunk."""
    numbers = np.arange(len(stack.slices), dtype=np.float64)
    indices = np.stack([numbers, np.zeros_like(numbers), np.zeros_like(numbers)], axis=1)
    offsets = np.array([item.position for item in stack.slices]) - stack.geometry.map_indices_to_reference(indices)
    normal = stack.geometry.unit_vectors()[0]
    along = offsets @ normal
    if np.linalg.norm(offsets - np.outer(along, normal), axis=1).max() > POSITION_TOLERANCE_MM:
        return Reason.SHEARED
    return Reason.NON_UNIFORM_SPACING if np.abs(along).max() > POSITION_TOLERANCE_MM else None
