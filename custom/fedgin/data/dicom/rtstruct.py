"""RTSTRUCT to voxels: the contours of an organ, filled on the slices on which they were drawn.

Polygons are scikit-image's: a voxel belongs to an organ when its centre lies inside. Libraries for RTSTRUCT round the
corners of contours to whole voxels first, which makes every organ about half a voxel larger on each side.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pydicom
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from skimage.draw import polygon

from fedgin.data.dicom.elements import text
from fedgin.data.dicom.stack import POSITION_TOLERANCE_MM

Mask = NDArray[np.bool_]
# Row and column of each voxel inside a contour.
Inside = tuple[NDArray[np.intp], NDArray[np.intp]]
# A contour along the outer edge of the image lies half a voxel beyond the last centre, and is rounded.
_EDGE = 1.0
_EXCLUSIVE = "CLOSEDPLANAR_XOR"
# Share of its voxels with which a contour lies within others, and of a border's that a wall has at least.
_INSIDE, _WALL = 0.9, 0.25
_CLOSED = ("CLOSED_PLANAR", _EXCLUSIVE)


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

    DICOM gives a meaning to contours of kind ``CLOSEDPLANAR_XOR`` alone: they exclude each other (PS3.3 C.8.8.6.3).
    Tools nest others in the same sense, so one that lies within an odd number of others, by most of its voxels, is a
    hole in them, one within a hole an island, in whatever order they are listed. All others are united.

    Args:
        dataset: the RTSTRUCT.
        structure: number of the structure.
        grid: axes (slice, row, column).

    Raises:
        OffTheSlicesError: contours do not lie on slices, or as on every other slice only.
        ValueError: a contour is not closed.
    """
    shape = grid.spatial_shape[1:]
    drawn: dict[int, dict[tuple[str, bytes, bytes], Inside]] = {}
    for kind, points in _contours(dataset, structure):
        slice_index, corners = _on_slice(points, grid)
        rows, columns = polygon(corners[:, 0], corners[:, 1], shape)
        # One that is listed twice may begin at another corner, so what it fills tells it.
        drawn.setdefault(slice_index, {})[kind, rows.tobytes(), columns.tobytes()] = rows, columns
    if len(drawn) > 1 and np.median(np.diff(sorted(drawn))) > 1:
        raise OffTheSlicesError
    masks = {}
    for slice_index, contours in drawn.items():
        mask = _unite((inside for (kind, *_), inside in contours.items() if kind != _EXCLUSIVE), shape)
        for (kind, *_), inside in contours.items():
            if kind == _EXCLUSIVE:
                mask[inside] ^= True
        masks[slice_index] = mask
    return masks


def _unite(contours: Iterable[Inside], shape: tuple[int, ...]) -> Mask:
    """Fill the outer contours, clear the holes in them, fill the islands in these, and so on.

    How deep a contour lies is told by the larger ones alone: those of one depth may overlap, and an inner one may lie
    across two of them. What two of them have in common is drawn twice, so one that lies there is drawn over both, and
    is no hole. Drawn by hand, an inner one may leave a thin wall for some voxels, and one may come twice with rounding.
    """
    levels: list[list[Mask]] = []
    for inside in sorted(contours, key=lambda inside: -inside[0].size):
        if not inside[0].size:  # between the voxels' centres
            continue
        drawn = np.zeros(shape, dtype=np.bool_)
        drawn[inside] = True
        depth = _depth(inside, levels)
        if depth and any(_is_repeated(drawn, outer) for outer in levels[depth - 1]):
            continue
        if depth == len(levels):
            levels.append([])
        levels[depth].append(drawn)
    mask = np.zeros(shape, dtype=np.bool_)
    for depth, level in enumerate(levels):
        mask[np.any(level, axis=0)] = depth % 2 == 0
    return mask


def _depth(inside: Inside, levels: Sequence[Sequence[Mask]]) -> int:
    for depth, level in reversed(list(enumerate(levels))):
        times = np.sum([outer[inside] for outer in level], axis=0)
        if (times > 0).mean() >= _INSIDE:
            return depth + int((times % 2).mean() > 0.5)
    return 0


def _is_repeated(drawn: Mask, outer: Mask) -> bool:
    """Tell whether two contours differ by less than the thinnest wall that could lie between them."""
    differing = np.count_nonzero(drawn ^ outer)
    if differing >= _WALL * np.count_nonzero(outer):  # a border has no more voxels; to erode takes far longer
        return False
    border = outer & ~binary_erosion(outer)
    return bool(differing < _WALL * np.count_nonzero(border))


def _contours(dataset: pydicom.Dataset, structure: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield kind and corners [N, 3] of every closed contour, LPS+ mm; points alone mark places and no organ."""
    for item in dataset.ROIContourSequence:
        if int(item.ReferencedROINumber) != structure:
            continue
        for contour in item.get("ContourSequence") or []:
            kind = text(contour, "ContourGeometricType")
            if kind == "POINT":
                continue
            if kind not in _CLOSED:
                raise ValueError("a contour is not closed")
            yield kind, np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)


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
