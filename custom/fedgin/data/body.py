"""Find the body in an image."""

import nibabel
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.regions import bounding_box, find_regions
from fedgin.data.volumes import Volume


def find_body(image: Volume, hounsfield: bool, settings: Preprocessing) -> NDArray[np.bool_]:
    """Mark the body: the largest connected region above air, with its holes filled slice by slice.

    In Hounsfield units: above the lower end of the window. Else: above half of Otsu's threshold, which keeps dark
    organs and drops background noise.
    """
    return _fill_holes(find_outline(image, hounsfield, settings), _axial_axis(image.affine))


def find_outline(image: Volume, hounsfield: bool, settings: Preprocessing) -> NDArray[np.bool_]:
    """Mark the body as :func:`find_body` does, but for the holes in it."""
    voxels = image.voxels.astype(np.float32, copy=False)
    level = settings.ct_window_hu[0] if hounsfield else 0.5 * float(threshold_otsu(voxels))
    regions = find_regions(voxels > level)
    if regions.count == 0:
        return np.ones(voxels.shape, dtype=bool)
    return regions.largest()


def _fill_holes(mask: NDArray[np.bool_], axial: int) -> NDArray[np.bool_]:
    """Fill in each axial slice what is enclosed: regions of the background that reach no side of the slice.

    Only the box around the mask is looked at. Around it lies a margin, which reaches a side, as far as the image goes.
    """
    filled, box = np.zeros_like(mask), bounding_box(mask, margin=1)
    assert box is not None, "a body has a voxel"
    planes = zip(np.moveaxis(filled[box], axial, 0), np.moveaxis(mask[box], axial, 0), strict=True)
    for target, plane in planes:
        regions = find_regions(~plane)
        outside = np.zeros(regions.count + 1, dtype=bool)
        for side in (*regions.numbers[[0, -1]], *regions.numbers[:, [0, -1]].T):
            outside[side] = True
        outside[0] = False
        target[...] = ~outside[regions.numbers]
    return filled


def _axial_axis(affine: NDArray[np.float64]) -> int:
    """Return the voxel axis that runs closest to head-foot."""
    return int(np.argwhere(nibabel.orientations.io_orientation(affine)[:, 0] == 2)[0, 0])
