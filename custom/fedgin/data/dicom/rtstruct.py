"""RTSTRUCT to voxels: the contours of an organ, filled on the slices on which they were drawn.

Polygons are scikit-image's: a voxel belongs to an organ when its centre lies inside. Libraries for RTSTRUCT round the
corners of contours to whole voxels first, which makes every organ about half a voxel larger on each side.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pydicom
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray
from skimage.draw import polygon

from fedgin.data.dicom.elements import text
from fedgin.data.dicom.stack import POSITION_TOLERANCE_MM

Mask = NDArray[np.bool_]
# A contour along the outer edge of the image lies half a voxel beyond the last centre, and is rounded.
_EDGE = 1.0
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


class OffTheSlicesError(Exception):
    """Contours lie between slices, outside the image, or leave slices out at half of their steps or more."""


def structure_names(dataset: pydicom.Dataset) -> dict[int, str]:
    """Return the name of every structure by its number."""
    structures = dataset.get("StructureSetROISequence") or []
    return {int(item.ROINumber): text(item, "ROIName") for item in structures}


def drawn_structures(dataset: pydicom.Dataset) -> set[int]:
    """Return the numbers of the structures that have contours; planning systems also list those not drawn."""
    contours = dataset.get("ROIContourSequence") or []
    return {int(item.ReferencedROINumber) for item in contours if item.get("ContourSequence")}


def fill(dataset: pydicom.Dataset, structure: int, grid: VolumeGeometry) -> dict[int, Mask]:
    """Return the mask [rows, columns] of a structure on every slice where it was drawn.

    A contour inside another one is a hole.

    Args:
        dataset: the RTSTRUCT.
        structure: number of the structure.
        grid: axes (slice, row, column).

    Raises:
        OffTheSlicesError: contours do not lie on slices, or as on every other slice only.
        ValueError: a contour is not closed.
    """
    masks: dict[int, Mask] = defaultdict(lambda: np.zeros(grid.spatial_shape[1:], dtype=np.bool_))
    seen = set()
    for points in _contours(dataset, structure):
        slice_index, corners = _on_slice(points, grid)
        inside = polygon(corners[:, 0], corners[:, 1], grid.spatial_shape[1:])
        filled = slice_index, *(indices.tobytes() for indices in inside)
        # A second one would undo the first. It may begin at another corner, so what it fills tells it.
        masks[slice_index][inside] ^= filled not in seen
        seen.add(filled)
    drawn = sorted(masks)
    if len(drawn) > 1 and np.median(np.diff(drawn)) > 1:
        raise OffTheSlicesError
    return dict(masks)


def _contours(dataset: pydicom.Dataset, structure: int) -> Iterator[NDArray[np.float64]]:
    """Yield the corners [N, 3] of every closed contour, LPS+ mm; points alone mark places and no organ."""
    for item in dataset.ROIContourSequence:
        if int(item.ReferencedROINumber) != structure:
            continue
        for contour in item.get("ContourSequence") or []:
            kind = text(contour, "ContourGeometricType")
            if kind == "POINT":
                continue
            if kind not in _CLOSED:
                raise ValueError("a contour is not closed")
            yield np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)


def _on_slice(points: NDArray[np.float64], grid: VolumeGeometry) -> tuple[int, NDArray[np.float64]]:
    """Return the slice of a contour and its corners [N, (row, column)] in voxels."""
    indices = (points - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    index = int(np.rint(indices[0, 0]))
    off = np.abs(indices[:, 0] - index).max() * grid.spacing[0]
    last = np.array(grid.spatial_shape[1:]) - 1
    inside = (indices[:, 1:] >= -_EDGE).all() and (indices[:, 1:] <= last + _EDGE).all()
    if off > POSITION_TOLERANCE_MM or not inside or not 0 <= index < grid.spatial_shape[0]:
        raise OffTheSlicesError
    return index, indices[:, 1:]
