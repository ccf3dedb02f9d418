"""Files of a site that are computed from those of an archive; once, and again only when one of these changed."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from fedgin.data.nifti_file import open_nifti, read_voxels
from fedgin.errors import DataError
from fedgin.files import whole_file


class Derived(ABC):
    """A NIfTI file that an archive does not have as such."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the archive's files that it is computed from."""

    @abstractmethod
    def rule(self) -> str:
        """Return what else decides how it comes out, such as the ids of organs."""

    @abstractmethod
    def compute(self) -> tuple[nibabel.Nifti1Image, int]:
        """Return the volume, and how many of its voxels several organs claim.

        Raises:
            DataError: lists the files that cannot be read or do not fit.
        """


def is_current(derived: Derived, target: Path) -> bool:
    """Tell whether ``target`` was computed from these files as they are now; their times and sizes are compared."""
    try:
        return bool(open_nifti(target).header["descrip"].item().decode() == _origin(derived))
    except Exception:  # missing, or damaged in one of many ways
        return False


def write_derived(derived: Derived, target: Path) -> int:
    """Compute and write ``target``; return how many voxels several organs claim.

    Raises:
        DataError: as :meth:`Derived.compute`; nothing is written.
    """
    origin = _origin(derived)
    image, claimed = derived.compute()
    image.header["descrip"] = origin
    with whole_file(target) as part:
        image.to_filename(part)
    return claimed


def load_volume_file(path: Path) -> nibabel.Nifti1Image:
    """Open a NIfTI volume without reading its voxels.

    Raises:
        DataError: it cannot be read, or is no volume.
    """
    try:
        image = open_nifti(path)
    except Exception:  # nibabel raises many kinds
        raise DataError(f"{path.name} cannot be read", "download it again") from None
    if len(image.shape) != 3:
        raise DataError(f"{path.name} is no volume", "download it again")
    return image


def read_voxels_of(image: nibabel.Nifti1Image, path: Path) -> NDArray[Any]:
    """Return the voxels [X, Y, Z] of a file that was opened.

    Raises:
        DataError: it is cut off or damaged.
    """
    try:
        return read_voxels(image, path)
    except Exception:  # cut off, or damaged
        raise DataError(f"{path.name} is cut off or damaged", "download it again") from None


def label_on(grid: nibabel.Nifti1Image, ids: NDArray[np.uint8]) -> nibabel.Nifti1Image:
    """Return ids [X, Y, Z] as a label with the place of ``grid``."""
    header = nibabel.Nifti1Header.from_header(grid.header)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    return nibabel.Nifti1Image(ids, None, header)


def _origin(derived: Derived) -> str:
    """Return a text of at most 79 characters, which fits into a header."""
    stated = [(path.name, path.stat()) for path in derived.files()]
    parts = [derived.rule(), *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stated)]
    return f"fedgin {hashlib.sha256('|'.join(parts).encode()).hexdigest()[:32]}"
