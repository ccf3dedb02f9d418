"""Order the slices of a series and give them one grid; the geometry is highdicom's, from position and orientation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from highdicom.spatial import VOLUME_INDEX_CONVENTION, get_normal_vector
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray

from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.reasons import Reason

# The one tolerance of positions: a slice may be this far in mm from where the regular grid that fits all slices best
# puts it. Scanners round positions, they do not move them.
POSITION_TOLERANCE_MM = 0.05
# Stored axes nearest to left, anterior, superior: what common DICOM converters write for axial series.
STORED_ORIENTATION = "LAS"

Voxel = TypeVar("Voxel", bound=np.generic)


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

    def planes(self, voxels: NDArray[Voxel]) -> NDArray[Voxel]:
        """View ``voxels`` [X, Y, Z] on ``target`` with axes (slice, row, column): to write a plane needs no copy."""
        planes: NDArray[Voxel] = self.target.with_array(voxels).match_orientation(self.geometry).array
        return planes


def stack_slices(slices: Sequence[SliceHeader]) -> Stack | Reason:
    """Put at least two slices of one size and orientation into spatial order, or say why they are no regular stack.

    Raises:
        ValueError: the directions of rows and columns are not perpendicular.
    """
    first = slices[0].facts
    normal = get_normal_vector(first.orientation, index_convention=VOLUME_INDEX_CONVENTION)
    ordered = sorted(slices, key=lambda item: float(np.dot(item.position, normal)))
    positions = np.array([item.position for item in ordered])
    along = positions @ normal
    numbers = np.arange(len(ordered))
    spacing, start = np.polyfit(numbers, along, deg=1)
    across = positions - np.outer(along, normal)
    reason = _fault(along, start + spacing * numbers, across)
    if reason is not None:
        return reason
    geometry = VolumeGeometry.from_attributes(
        image_position=(across.mean(axis=0) + start * normal).tolist(),
        image_orientation=first.orientation,
        rows=first.size[0],
        columns=first.size[1],
        pixel_spacing=first.spacing,
        spacing_between_slices=float(spacing),
        number_of_frames=len(ordered),
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.frame or None,
    )
    return Stack(ordered, geometry)


def _fault(along: NDArray[np.float64], regular: NDArray[np.float64], across: NDArray[np.float64]) -> Reason | None:
    """Say what is wrong with positions along the normal and across it, both in mm; ``None`` when they are regular.

    A small shear counts too: over a trunk it adds up to centimetres.
    """
    gaps = np.diff(along)
    if gaps.min() <= POSITION_TOLERANCE_MM:
        return Reason.DUPLICATE_SLICE
    if np.abs(along - regular).max() > POSITION_TOLERANCE_MM:
        usual = float(np.median(gaps))
        steps = np.rint(gaps / usual)
        multiples = np.abs(gaps - steps * usual) <= 2 * POSITION_TOLERANCE_MM
        return Reason.MISSING_SLICE if multiples.all() and steps.max() > 1 else Reason.NON_UNIFORM_SPACING
    sheared = np.linalg.norm(across - across.mean(axis=0), axis=1).max() > POSITION_TOLERANCE_MM
    return Reason.SHEARED if sheared else None
