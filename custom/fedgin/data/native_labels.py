"""From class probabilities on the canonical grid to labels on an image's own grid."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedgin.data.regions import bounding_box, shift_box
from fedgin.data.resampling import VoxelGrid, resample

# So many voxels of the image's own grid are computed at once: 4 MB a class, which the processor's cache holds.
SLAB_VOXELS = 2**20
Box = tuple[slice, slice, slice]


def to_native_labels(probabilities: Tensor, affine: NDArray[np.float64], native: VoxelGrid) -> NDArray[np.uint8]:
    """Turn class probabilities on the canonical grid into labels on the image's own grid.

    Probabilities are interpolated and the largest wins. Beyond the centres of the first and the last canonical slice,
    where the image may have slices of its own, these two are continued; in plane what lies outside is background.

    An organ is computed only in the box around where it is above background: where it is so at none of the neighbours,
    it is so in no convex combination of them.

    Args:
        probabilities: [classes, D, X, Y], class 0 is background; they add up to 1.
        affine: the affine of the canonical volume.
        native: the grid to return to.

    Returns:
        uint8 [X, Y, Z] on the native grid, in Fortran order, as the voxels of NIfTI and DICOM lie.
    """
    continued = torch.cat([probabilities[:, :1], probabilities, probabilities[:, -1:]], dim=1)
    return _to_labels(continued, _from_slice(-1, affine), native)


def _to_labels(probabilities: Tensor, affine: NDArray[np.float64], native: VoxelGrid) -> NDArray[np.uint8]:
    volume = probabilities.permute(0, 2, 3, 1)
    source = VoxelGrid((volume.shape[1], volume.shape[2], volume.shape[3]), affine)
    above = np.asarray((volume[1:] > volume[:1]).numpy())
    labels = np.zeros(native.shape, dtype=np.uint8, order="F")
    whole = _reached(np.asarray(above.any(axis=0)), source, native)
    for slab in _slabs(whole) if whole else ():
        box = _narrowed(slab, above, source, native)
        seen = _box_in(source, native, box) if box else None
        if box and seen:
            labels[box] = _largest(volume[:, *seen], above[:, *seen], _part(source, seen), _part(native, box))
    return labels


def join_native_labels(
    pieces: Iterable[Tensor], depth: int, affine: NDArray[np.float64], native: VoxelGrid
) -> NDArray[np.uint8]:
    """Do as :func:`to_native_labels` with a volume that comes in pieces and is never there as a whole.

    Args:
        pieces: probabilities [classes, slices, X, Y] from the first slice to the last. Of each only the last slice is
            kept until the next.
        depth: how many slices the pieces have together.
        affine: the affine of the canonical volume.
        native: the grid to return to.
    """
    between = np.linalg.inv(affine) @ native.affine
    axis = int(np.abs(between[2, :3]).argmax())
    # On which canonical slice each native one lies, or between which two.
    places = between[2, 3] + between[2, axis] * np.arange(native.shape[axis])
    labels = np.zeros(native.shape, dtype=np.uint8, order="F")
    first, known = 0, torch.zeros(0)
    for piece in pieces:
        start, end = first - 1, first + piece.shape[1]
        beyond = [piece[:, -1:]] if end == depth else []
        shown = torch.cat([known if first else piece[:, :1], piece, *beyond], dim=1)
        inside = (places > (start if first else -np.inf)) & (places <= (end - 1 if end < depth else np.inf))
        box = bounding_box(inside)
        if box is not None:
            native_box = tuple(box[0] if other == axis else slice(0, native.shape[other]) for other in range(3))
            labels[native_box] = _to_labels(shown, _from_slice(start, affine), _part(native, native_box))
        first, known = end, piece[:, -1:]
    return labels


def _from_slice(start: int, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine of a volume that begins with another slice of a grid."""
    moved = affine.copy()
    moved[:3, 3] += start * affine[:3, 2]
    return moved


def _narrowed(slab: Box, above: NDArray[np.bool_], source: VoxelGrid, native: VoxelGrid) -> Box | None:
    """Return the part of a slab of ``native`` that organs can reach; nothing where none can."""
    seen = _box_in(source, native, slab)
    if seen is None:
        return None
    reached = _reached(np.asarray(above[:, *seen].any(axis=0)), _part(source, seen), _part(native, slab))
    if reached is None:
        return None
    x, y, z = shift_box(reached, slab)
    return x, y, z


def _slabs(box: Box) -> Iterator[Box]:
    """Cut an index box along its last axis into pieces of at most ``SLAB_VOXELS``."""
    step = max(1, SLAB_VOXELS // ((box[0].stop - box[0].start) * (box[1].stop - box[1].start)))
    for start in range(box[2].start, box[2].stop, step):
        yield box[0], box[1], slice(start, min(start + step, box[2].stop))


def _largest(volume: Tensor, above: NDArray[np.bool_], source: VoxelGrid, target: VoxelGrid) -> NDArray[np.uint8]:
    """Return the class with the largest probability at each voxel of ``target``, uint8 [X, Y, Z] in Fortran order.

    Args:
        volume: probabilities [classes, X, Y, D] on ``source``.
        above: bool [organs, X, Y, D], where an organ has more than background.
        source: the canonical grid, or the part of it that ``target`` needs.
        target: the image's own grid, or a part of it.
    """
    # Outside the canonical field of view nothing was predicted: what organs leave over is background.
    best = 1.0 - _interpolate(1.0 - volume[0], source, target)
    winner = np.zeros(best.shape, dtype=np.uint8, order="F")
    for number, mask in enumerate(above, start=1):
        box, inside = bounding_box(mask, margin=1), _reached(mask, source, target)
        if box is None or inside is None:
            continue
        values = _interpolate(volume[number][box], _part(source, box), _part(target, inside))
        np.copyto(winner[inside], np.uint8(number), where=values > best[inside])
        np.maximum(best[inside], values, out=best[inside])
    return winner


def _interpolate(values: Tensor, source: VoxelGrid, target: VoxelGrid) -> NDArray[np.float32]:
    """Interpolate [X, Y, D] on ``source`` to float32 [X, Y, Z] on ``target``, in Fortran order; 0 lies outside."""
    backwards = VoxelGrid((target.shape[2], target.shape[1], target.shape[0]), target.affine[:, [2, 1, 0, 3]])
    return np.asarray(resample(values[None], source, backwards, mode="bilinear", outside="zeros")[0].numpy()).T


def _reached(mask: NDArray[np.bool_], source: VoxelGrid, target: VoxelGrid) -> Box | None:
    """Return the box of ``target`` that holds every voxel within one voxel of a mask on ``source``."""
    box = bounding_box(mask)
    return None if box is None else _box_in(target, source, box, margin=1)


def _box_in(target: VoxelGrid, source: VoxelGrid, box: tuple[slice, ...], margin: int = 0) -> Box | None:
    """Return the box of ``target`` around a box of ``source`` and a margin of its voxels; nothing where they part."""
    ends = [(side.start - margin, side.stop - 1 + margin) for side in box]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    indices = (np.linalg.inv(target.affine) @ source.affine @ np.vstack([corners, np.ones(corners.shape[1])]))[:3]
    first = np.clip(np.floor(indices.min(1)), 0, np.array(target.shape)).astype(int)
    last = np.clip(np.ceil(indices.max(1)) + 1, 0, np.array(target.shape)).astype(int)
    if (first >= last).any():
        return None
    return slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])


def _part(grid: VoxelGrid, box: tuple[slice, ...]) -> VoxelGrid:
    """Return the grid of a box of another."""
    affine = grid.affine.copy()
    affine[:3, 3] = (grid.affine @ np.array([*(side.start for side in box), 1.0]))[:3]
    x, y, z = (side.stop - side.start for side in box)
    return VoxelGrid((x, y, z), affine)
