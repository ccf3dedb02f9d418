"""Find NIfTI files, and read all of one, so that damage is noticed and not trained on."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

NIFTI_ENDINGS = (".nii", ".nii.gz")
_BLOCK = 2**20


def nifti_files(folder: Path) -> list[Path]:
    """Return the NIfTI files directly in a folder, sorted, however their endings are written.

    Hidden ones are none: macOS puts a ``._NAME`` beside each file on another system's disk. ``OSError`` passes through.
    """
    return sorted(path for path in folder.iterdir() if names_nifti(path.name) and not path.is_dir())


def names_nifti(name: str) -> bool:
    """Return whether a name is that of a NIfTI file that is not hidden."""
    return name.lower().endswith(NIFTI_ENDINGS) and not name.startswith(".")


def nifti_stem(path: Path) -> str:
    """Return the name of a NIfTI file without its ending.

    Example:
        >>> nifti_stem(Path("a.1.NII.GZ"))
        'a.1'
    """
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return bare.stem if bare.suffix.lower() == ".nii" else bare.name


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
