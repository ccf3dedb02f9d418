"""Bring an image to the canonical grid and intensity range of the experiment, and a prediction back to its own grid.

The canonical grid is RAS+, square in plane, centred on the body, with the image's own slice positions: the network sees
axial slices of one pixel size and one field of view, whatever the site's orientation and spacing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.resampling import VoxelGrid, resample
from fedgin.data.volumes import Volume

# z-scores are taken over the body, so air can be far below: without a limit it would dominate GIN's norm.
ZSCORE_LIMIT = 5.0
# On the way back to the image's own grid so many probabilities are in memory at once: 32 MB, within a large cache.
SLAB_VALUES = 2**23
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Canonical:
    """A preprocessed case.

    Attributes:
        image: float32 [D, X, Y], normalised.
        label: uint8 [D, X, Y], organ positions plus 1.
        body: bool [D, X, Y].
        affine: 4x4, of the canonical volume [X, Y, D].
        native: the grid of the original image.
    """

    image: Tensor
    label: Tensor
    body: Tensor
    affine: NDArray[np.float64]
    native: VoxelGrid


def preprocess(image: Volume, organs: NDArray[np.uint8], hounsfield: bool, settings: Preprocessing) -> Canonical:
    """Resample and normalise one case.

    Args:
        image: voxels [X, Y, Z] in HU or arbitrary units, in any orientation.
        organs: label on the same grid, 0 for background.
        hounsfield: clip to the HU window; otherwise (MR, PNG slices) to percentiles of the body.
        settings: the experiment's preprocessing.
    """
    native = VoxelGrid.of(image)
    body = find_body(image, hounsfield, settings)
    grid = canonical_grid(native, body, settings)
    low, high = _intensity_limits(image, body, hounsfield, settings)
    clipped = np.clip(image.voxels.astype(np.float32, copy=False), low, high)
    resampled = resample(_channel(clipped), native, grid, mode="bilinear", outside="border")[0]
    inside = resample(_channel(body), native, grid, mode="nearest")[0]
    labels = resample(_channel(organs), native, grid, mode="nearest")[0]
    return Canonical(
        image=_as_slices(_normalise(resampled, inside, (low, high), settings)),
        label=_as_slices(labels),
        body=_as_slices(inside),
        affine=grid.affine,
        native=native,
    )


def to_native_labels(probabilities: Tensor, affine: NDArray[np.float64], native: VoxelGrid) -> NDArray[np.uint8]:
    """Turn class probabilities on the canonical grid into labels on the image's own grid.

    Probabilities are interpolated and the largest wins. Only the box around predicted organs is computed: where every
    neighbour has background as its largest class, so has each convex combination of them.

    Args:
        probabilities: [classes, D, X, Y], class 0 is background.
        affine: the affine of the canonical volume.
        native: the grid to return to.

    Returns:
        uint8 [X, Y, Z] on the native grid.
    """
    volume = probabilities.permute(0, 2, 3, 1)
    labels = np.zeros(native.shape, dtype=np.uint8)
    whole = _native_box(_largest(volume) > 0, affine, native)
    source = VoxelGrid((volume.shape[1], volume.shape[2], volume.shape[3]), affine)
    for box in _slabs(whole, len(volume)) if whole else ():
        corner = native.affine.copy()
        corner[:3, 3] = (native.affine @ np.array([*(side.start for side in box), 1.0]))[:3]
        target = VoxelGrid((box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start), corner)
        organs = resample(volume[1:], source, target, mode="bilinear", outside="zeros")
        # Outside the canonical field of view nothing was predicted: what organs leave over is background.
        labels[box] = _largest(torch.cat([1.0 - organs.sum(0, keepdim=True), organs]))
    return labels


def _slabs(box: Box, classes: int) -> Iterator[Box]:
    """Cut an index box along its last axis, so that the probabilities of a slab are at most ``SLAB_VALUES``."""
    area = classes * (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
    step = max(1, SLAB_VALUES // area)
    for start in range(box[2].start, box[2].stop, step):
        yield box[0], box[1], slice(start, min(start + step, box[2].stop))


def find_body(image: Volume, hounsfield: bool, settings: Preprocessing) -> NDArray[np.bool_]:
    """Mark the body: the largest connected region above air, with its holes filled slice by slice.

    In Hounsfield units: above the lower end of the window. Else: above half of Otsu's threshold, which keeps dark
    organs and drops background noise.
    """
    voxels = image.voxels.astype(np.float32, copy=False)
    level = settings.ct_window_hu[0] if hounsfield else 0.5 * float(threshold_otsu(voxels))
    regions, count = ndimage.label(voxels > level)
    if count == 0:
        return np.ones(voxels.shape, dtype=bool)
    largest = regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    return _fill_holes(largest, _axial_axis(image.affine))


def _fill_holes(mask: NDArray[np.bool_], axial: int) -> NDArray[np.bool_]:
    """Fill in each axial slice what is enclosed: regions of the background that reach no side of the slice."""
    in_plane = ndimage.generate_binary_structure(3, 1)
    for end in (0, 2):
        np.moveaxis(in_plane, axial, 0)[end] = False
    regions, count = ndimage.label(~mask, in_plane)
    reaches = np.zeros(count + 1, dtype=bool)
    for axis in {0, 1, 2} - {axial}:
        for end in (0, -1):
            reaches[np.moveaxis(regions, axis, 0)[end]] = True
    reaches[0] = False
    return ~reaches[regions]


def canonical_grid(native: VoxelGrid, body: NDArray[np.bool_], settings: Preprocessing) -> VoxelGrid:
    """Lay the canonical grid: RAS+, the native slices, square pixels, centred in plane on the body's bounding box."""
    to_ras = nibabel.orientations.io_orientation(native.affine)
    ras = native.affine @ nibabel.orientations.inv_ornt_aff(to_ras, native.shape)
    body_ras = nibabel.orientations.apply_orientation(body, to_ras)
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    wanted = np.array([settings.spacing_mm, settings.spacing_mm, spacing[2]])
    affine = ras.copy()
    affine[:3, :3] = ras[:3, :3] / spacing * wanted
    centre = _box_centre(body_ras)
    centre[2] = (body_ras.shape[2] - 1) / 2.0
    size = (*settings.size, body_ras.shape[2])
    affine[:3, 3] = (ras @ np.array([*centre, 1.0]))[:3] - affine[:3, :3] @ ((np.array(size) - 1) / 2.0)
    return VoxelGrid(size, affine)


def _largest(classes: Tensor) -> NDArray[np.uint8]:
    """Return the class of the largest of [classes, ...]; a running maximum, several times faster here than argmax."""
    best, winner = classes[0].clone(), torch.zeros(classes.shape[1:], dtype=torch.uint8)
    for number, values in enumerate(classes[1:], start=1):
        winner[values > best] = number
        torch.maximum(best, values, out=best)
    return np.asarray(winner.numpy())


def _intensity_limits(
    image: Volume, body: NDArray[np.bool_], hounsfield: bool, settings: Preprocessing
) -> tuple[float, float]:
    if hounsfield:
        return settings.ct_window_hu
    low, high = np.percentile(image.voxels[body].astype(np.float32, copy=False), settings.mr_percentiles)
    return float(low), max(float(high), float(low) + 1e-6)


def _normalise(image: Tensor, body: Tensor, limits: tuple[float, float], settings: Preprocessing) -> Tensor:
    if settings.normalisation == "minmax":
        return (image - limits[0]) / (limits[1] - limits[0])
    inside = image[body] if bool(body.any()) else image.flatten()
    scaled = (image - inside.mean()) / inside.std().clamp_min(1e-6)
    return scaled.clamp(-ZSCORE_LIMIT, ZSCORE_LIMIT)


def _channel(voxels: NDArray[Any]) -> Tensor:
    """Return [X, Y, Z] as [1, X, Y, Z]; PyTorch has no axes that run backwards."""
    return torch.from_numpy(voxels if min(voxels.strides) > 0 else voxels.copy())[None]


def _as_slices(volume: Tensor) -> Tensor:
    return volume.permute(2, 0, 1).contiguous()


def _axial_axis(affine: NDArray[np.float64]) -> int:
    """Return the voxel axis that runs closest to head-foot."""
    return int(np.argwhere(nibabel.orientations.io_orientation(affine)[:, 0] == 2)[0, 0])


def _box_centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    centre = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        centre.append((filled[0] + filled[-1]) / 2.0)
    return np.array(centre)


def _native_box(mask: NDArray[np.bool_], affine: NDArray[np.float64], native: VoxelGrid) -> Box | None:
    """Return the native index box that holds every voxel within one canonical voxel of ``mask``."""
    filled = np.argwhere(mask)
    if not len(filled):
        return None
    low, high = filled.min(0) - 1, filled.max(0) + 1
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    indices = (np.linalg.inv(native.affine) @ affine @ np.vstack([corners, np.ones(corners.shape[1])]))[:3]
    first = np.clip(np.floor(indices.min(1)), 0, np.array(native.shape)).astype(int)
    last = np.clip(np.ceil(indices.max(1)) + 1, 0, np.array(native.shape)).astype(int)
    if (first >= last).any():
        return None
    return slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])
