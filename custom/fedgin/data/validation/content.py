"""Hashes that tell whether two images are one, and whether a file has changed."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case
from fedgin.errors import DataError

INT16 = np.iinfo(np.int16)


def hash_voxels(voxels: NDArray[Any]) -> bytes:
    """Return SHA-256 of the shape and the values of an image; data type and memory order do not matter.

    Args:
        voxels: finite numbers [X, Y, Z], with the axes in RAS+ order and direction.
    """
    values = np.ascontiguousarray(_smallest(voxels))
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(values.tobytes())
    return digest.digest()


def hash_case(case: Case) -> bytes:
    """Return SHA-256 over the bytes of image and label.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in (case.image, case.label):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        raise DataError(f"{case}: a file cannot be read", "restore the file and its permissions") from None
    return digest.digest()


def _smallest(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers as int16 where they fit, everything else as float32: the value decides, not its storage."""
    if voxels.min() >= INT16.min and voxels.max() <= INT16.max:
        whole = voxels.astype(np.int16)
        if np.array_equal(whole, voxels):
            return whole
    return voxels.astype(np.float32)
