"""Labels whose values are no ids of this package: from 256 on, or two values for one organ."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from fedgin.data.importers.derived import Derived, label_on, load_volume_file, read_voxels_of
from fedgin.errors import DataError

SHOWN = 3


@dataclass(frozen=True)
class Renumbered(Derived):
    """A label file with other numbers.

    Attributes:
        label: the archive's file.
        ids: value in that file to id, 1 to 255; 0 stays 0.
    """

    label: Path
    ids: Mapping[int, int]

    def files(self) -> list[Path]:
        """Return the archive's file."""
        return [self.label]

    def rule(self) -> str:
        """Return the values and their ids."""
        return " ".join(f"{value} {number}" for value, number in self.ids.items())

    def compute(self) -> tuple[nibabel.Nifti1Image, int]:
        """Return the label; no voxel is claimed twice."""
        label = load_volume_file(self.label)
        values = read_voxels_of(label, self.label)
        known = np.array(sorted({0, *self.ids}))
        strange = np.setdiff1d(np.unique(values), known)
        if strange.size:
            some = ", ".join(f"{value:g}" for value in strange[:SHOWN])
            raise DataError(f"{self.label.name} holds values of no organ, such as {some}", "download it again")
        table = np.array([self.ids.get(int(value), 0) for value in known], dtype=np.uint8)
        return label_on(label, np.asarray(table[np.searchsorted(known, values)])), 0
