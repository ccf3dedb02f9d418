"""Read the voxels of a NIfTI file that was opened: all of the file, so that damage is noticed and not trained on."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**20


def read_voxels(image: nibabel.Nifti1Image, path: Path) -> NDArray[Any]:
    """Return the voxels of a file, scaled as its header says.

    A reader of voxels stops at the last of them, in front of the checksum of a ``.gz``; here it is read to its end.

    Args:
        image: what nibabel opened; its size was checked.
        path: the file.

    Raises:
        Exception: the file is cut off or damaged; nibabel and gzip raise many kinds.
    """
    if path.suffix.lower() != ".gz":
        return np.asanyarray(image.dataobj)
    with gzip.open(path) as stream:
        voxels = np.asanyarray(type(image).from_stream(stream).dataobj)
        while stream.read(_BLOCK):
            pass
    return voxels
