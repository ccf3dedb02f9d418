"""Write a volume as NIfTI with a header that says nothing but geometry; a killed process leaves no half file."""

from pathlib import Path

import nibabel
import numpy as np
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray

from fedgin.files import whole_file

_SCANNER_COORDINATES = 1


def write_volume(path: Path, voxels: NDArray[np.generic], geometry: VolumeGeometry) -> None:
    """Write ``voxels`` [X, Y, Z] on ``geometry`` (LPS+); the file appears complete or not at all.

    Args:
        path: ends in ``.nii`` or ``.nii.gz``.
        voxels: the voxels, of a type that NIfTI has; written without scaling.
        geometry: its axes are those of ``voxels``.
    """
    with whole_file(path) as part:
        as_nifti(voxels, geometry).to_filename(part)


def as_nifti(voxels: NDArray[np.generic], geometry: VolumeGeometry) -> nibabel.Nifti1Image:
    """Return ``voxels`` [X, Y, Z] on ``geometry`` (LPS+), whose axes are those of ``voxels``."""
    affine = geometry.get_affine("RAS")
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_sform(affine, _SCANNER_COORDINATES)
    image.set_qform(affine, _SCANNER_COORDINATES)
    image.header.set_xyzt_units("mm")
    return image
