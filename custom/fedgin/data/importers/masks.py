"""Merge the mask files of a case, one an organ, into one label.

Where masks overlap, a voxel belongs to the organ with the fewest voxels: a small organ within a large one would
vanish otherwise. Of two equally large ones the smaller id has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from fedgin.data.importers.derived import Derived, label_on, load_volume_file, read_voxels_of
from fedgin.data.nifti_header import largest_distance_mm
from fedgin.data.volumes import GRID_TOLERANCE_MM
from fedgin.errors import DataError

# A mask may be stored as 0 and 1, 0 and 255, or as a float.
INSIDE = 0.5


@dataclass(frozen=True)
class MergedMasks(Derived):
    """The label of ``image``.

    Attributes:
        image: gives the grid.
        masks: organ to its mask file, on the grid of the image.
        ids: organ to its id, 1 to 255.
    """

    image: Path
    masks: Mapping[str, Path]
    ids: Mapping[str, int]

    def files(self) -> list[Path]:
        """Return the masks."""
        return [self.masks[organ] for organ in sorted(self.masks)]

    def rule(self) -> str:
        """Return the ids of the organs."""
        return " ".join(f"{organ} {self.ids[organ]}" for organ in sorted(self.masks))

    def compute(self) -> tuple[nibabel.Nifti1Image, int]:
        """Return the label, and how many voxels are in several masks."""
        grid = load_volume_file(self.image)
        inside, faults = dict[str, NDArray[np.intp]](), list[str]()
        for organ, path in self.masks.items():
            try:
                inside[organ] = _inside(path, grid)
            except DataError as error:
                faults.append(error.problem)
        if faults:
            raise DataError(", ".join(faults), "download the files again")
        label = np.zeros(grid.shape, dtype=np.uint8, order="F")
        flat = label.reshape(-1, order="F")
        for organ in sorted(inside, key=lambda organ: (-inside[organ].size, -self.ids[organ])):
            flat[inside[organ]] = self.ids[organ]
        return label_on(grid, label), sum(voxels.size for voxels in inside.values()) - int(np.count_nonzero(flat))


def _inside(path: Path, grid: nibabel.Nifti1Image) -> NDArray[np.intp]:
    """Return the positions of the mask's voxels, the first axis fastest.

    Raises:
        DataError: the file cannot be read, lies on another grid, or holds something else than a mask.
    """
    mask = load_volume_file(path)
    if mask.shape != grid.shape or largest_distance_mm(mask.affine, grid.affine, grid.shape) > GRID_TOLERANCE_MM:
        raise DataError(f"{path.name} is not on the grid of the image", "download it again")
    values = read_voxels_of(mask, path).reshape(-1, order="F")
    if not _is_mask(values):
        raise DataError(f"{path.name} holds values of no mask", "download it again")
    return np.flatnonzero(values >= INSIDE)


def _is_mask(values: NDArray[Any]) -> bool:
    """Refuse NaN, 255 in a type that makes it -1, and a label of several organs: each would be lost or taken whole.

    Values about 0 and 1 may be beyond them, as resampling with splines leaves them.
    """
    low, high = values.min(), values.max()
    return bool(low > -INSIDE and (high < 1 + INSIDE or ((values == 0) | (values == high)).all()))
