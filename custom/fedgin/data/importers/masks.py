"""Merge the mask files of a case, one an organ, into one label file; once, and again only when a mask changed.

Where masks overlap, a voxel belongs to the organ with the fewest voxels: a small organ within a large one would
vanish otherwise. Of two equally large ones the smaller id has it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from fedgin.data.nifti_header import largest_distance_mm
from fedgin.data.volumes import GRID_TOLERANCE_MM
from fedgin.errors import DataError
from fedgin.files import whole_file

# A mask may be stored as 0 and 1, 0 and 255, or as a float.
INSIDE = 0.5


def is_merged(masks: Mapping[str, Path], ids: Mapping[str, int], target: Path) -> bool:
    """Tell whether ``target`` was merged from these masks as they are now; their times and sizes are compared."""
    try:
        return bool(nibabel.load(target).header["descrip"].item().decode() == _origin(masks, ids))
    except Exception:  # missing, or damaged in one of many ways
        return False


def merge_masks(image: Path, masks: Mapping[str, Path], ids: Mapping[str, int], target: Path) -> int:
    """Write the label of ``image``; return how many voxels are in several masks.

    Args:
        image: gives the grid.
        masks: organ to its mask file, on the grid of the image.
        ids: organ to its id, 1 to 255.
        target: the label file.

    Raises:
        DataError: lists the files that cannot be read, and those on another grid.
    """
    grid = _load(image)
    inside, faults = dict[str, NDArray[np.intp]](), list[str]()
    for organ, path in masks.items():
        try:
            inside[organ] = _inside(path, grid)
        except DataError as error:
            faults.append(error.problem)
    if faults:
        raise DataError(", ".join(faults), "download the files again")
    label = np.zeros(grid.shape, dtype=np.uint8, order="F")
    flat = label.reshape(-1, order="F")
    for organ in sorted(inside, key=lambda organ: (-inside[organ].size, -ids[organ])):
        flat[inside[organ]] = ids[organ]
    header = nibabel.Nifti1Header.from_header(grid.header)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["descrip"] = _origin(masks, ids)
    with whole_file(target) as part:
        nibabel.Nifti1Image(label, None, header).to_filename(part)
    return sum(voxels.size for voxels in inside.values()) - int(np.count_nonzero(flat))


def _load(path: Path) -> nibabel.Nifti1Image:
    try:
        image = nibabel.load(path)
    except Exception:  # nibabel raises many kinds
        raise DataError(f"{path.name} cannot be read", "download it again") from None
    if len(image.shape) != 3:
        raise DataError(f"{path.name} is no volume", "download it again")
    return image


def _inside(path: Path, grid: nibabel.Nifti1Image) -> NDArray[np.intp]:
    """Return the positions of the mask's voxels, the first axis fastest."""
    mask = _load(path)
    if mask.shape != grid.shape or largest_distance_mm(mask.affine, grid.affine, grid.shape) > GRID_TOLERANCE_MM:
        raise DataError(f"{path.name} is not on the grid of the image", "download it again")
    try:
        voxels = np.asanyarray(mask.dataobj)
    except Exception:  # cut off, or damaged
        raise DataError(f"{path.name} is cut off or damaged", "download it again") from None
    return np.flatnonzero(voxels.reshape(-1, order="F") >= INSIDE)


def _origin(masks: Mapping[str, Path], ids: Mapping[str, int]) -> str:
    """Return a text of at most 79 characters, which fits into a header."""
    stated = {organ: path.stat() for organ, path in masks.items()}
    parts = [f"{organ} {ids[organ]} {stated[organ].st_size} {stated[organ].st_mtime_ns}" for organ in sorted(masks)]
    return f"fedgin masks {hashlib.sha256('|'.join(parts).encode()).hexdigest()[:32]}"
