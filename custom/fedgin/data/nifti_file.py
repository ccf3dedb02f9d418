"""Find NIfTI files, and read all of one, so that damage is noticed and not trained on."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

NIFTI_ENDINGS = (".nii", ".nii.gz")
_BLOCK = 2**20
# By the standard's reference code (nifti1_io.c): a turn whose cosine of the half is less, squared, is half a turn.
_HALF_TURN = 1e-7


class _ReferenceHeader(nibabel.Nifti1Header):
    """Completes a quaternion as the standard's reference code does, and ITK, whatever its length.

    nibabel takes no three numbers whose squares are more than 1 by 4e-7, as programs round them, and takes a tilt of
    up to 0.07 degrees from half a turn for none. What is too long to be rounded :func:`check_header` tells.
    """

    def get_qform_quaternion(self) -> NDArray[np.float64]:
        stored = np.array([self[f"quatern_{name}"] for name in "bcd"], dtype=np.float64)
        with np.errstate(all="ignore"):  # a header may hold any number
            left = 1.0 - stored @ stored
            if left < _HALF_TURN:
                return np.r_[0.0, stored / np.linalg.norm(stored)]
            return np.r_[np.sqrt(left), stored]


class _ReferenceHeader2(_ReferenceHeader, nibabel.Nifti2Header):
    pass


class _ReferenceImage(nibabel.Nifti1Image):
    header_class = _ReferenceHeader


class _ReferenceImage2(nibabel.Nifti2Image):
    header_class = _ReferenceHeader2


def open_nifti(path: Path) -> nibabel.Nifti1Image:
    """Open a NIfTI file, or one of another format that nibabel reads, without reading its voxels.

    Raises:
        Exception: the file is damaged or something else; nibabel raises many kinds.
    """
    for kind in (_ReferenceImage, _ReferenceImage2):
        if kind.path_maybe_image(path)[0]:
            return kind.from_filename(path)
    return nibabel.load(path)


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
        image: of :func:`open_nifti`; its size was checked.
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
