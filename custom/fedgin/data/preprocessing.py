"""Bring an image to the canonical grid and intensity range of the experiment.

The canonical grid is RAS+, whatever the site's orientation and spacing. For slices it is square in plane and centred on
the body, with the image's own slice positions: the network sees axial slices of one pixel size and one field of view.
For volumes it has the experiment's voxels and holds the body over all of the image's slices: the network sees patches.
"""

import math
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedgin.data.body import find_body
from fedgin.data.limits import LimitError
from fedgin.data.preprocessing_settings import MOST_VOXELS, Preprocessing
from fedgin.data.regions import bounding_box
from fedgin.data.resampling import VoxelGrid, resample
from fedgin.data.volumes import Volume

# z-scores are taken over the body, so air can be far below: without a limit it would dominate GIN's norm.
ZSCORE_LIMIT = 5.0


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

    Raises:
        LimitError: as :func:`canonical_grid`.
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


def canonical_grid(native: VoxelGrid, body: NDArray[np.bool_], settings: Preprocessing) -> VoxelGrid:
    """Lay the canonical grid, RAS+ and centred on the body's bounding box in plane and on the image along the body.

    For slices: square pixels of the asked number, and the native slices. For volumes: the asked voxels, as many as come
    nearest to the body's bounding box in plane and to the image's length along the body.

    Raises:
        LimitError: the volume would have more than ``MOST_VOXELS``.
    """
    to_ras = nibabel.orientations.io_orientation(native.affine)
    ras = native.affine @ nibabel.orientations.inv_ornt_aff(to_ras, native.shape)
    body_ras = nibabel.orientations.apply_orientation(body, to_ras)
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    box = bounding_box(body_ras)
    assert box is not None, "a body has a voxel"
    first = np.array([box[0].start, box[1].start, 0])
    last = np.array([box[0].stop, box[1].stop, body_ras.shape[2]]) - 1
    if isinstance(settings.spacing_mm, tuple):
        wanted = np.array(settings.spacing_mm)
        sides = np.maximum(1, np.rint((last - first + 1) * spacing / wanted)).astype(int).tolist()
    else:
        wanted = np.array([settings.spacing_mm, settings.spacing_mm, spacing[2]])
        sides = [*settings.size, body_ras.shape[2]]
    if math.prod(sides) > MOST_VOXELS:
        raise LimitError(
            f"a volume would have {math.prod(sides):,} of the asked voxels; at most {MOST_VOXELS:,} are prepared",
            "ask for larger voxels in preprocessing.spacing_mm",
        )
    affine = ras.copy()
    affine[:3, :3] = ras[:3, :3] / spacing * wanted
    affine[:3, 3] = (ras @ np.array([*(first + last) / 2.0, 1.0]))[:3] - affine[:3, :3] @ ((np.array(sides) - 1) / 2.0)
    return VoxelGrid((sides[0], sides[1], sides[2]), affine)


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
    inside = image.masked_select(body) if bool(body.any()) else image.flatten()
    scaled = (image - inside.mean()) / inside.std().clamp_min(1e-6)
    return scaled.clamp(-ZSCORE_LIMIT, ZSCORE_LIMIT)


def _channel(voxels: NDArray[Any]) -> Tensor:
    """Return [X, Y, Z] as [1, X, Y, Z]; PyTorch has no axes that run backwards."""
    return torch.from_numpy(voxels if min(voxels.strides) > 0 else voxels.copy())[None]


def _as_slices(volume: Tensor) -> Tensor:
    return volume.permute(2, 0, 1).contiguous()
