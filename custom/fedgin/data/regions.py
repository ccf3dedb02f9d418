"""Connected regions of a mask and the box around it, along the order in which its voxels lie in memory.

NIfTI and DICOM voxels lie in Fortran order. scipy writes its regions in C order, which takes twice as long there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box = tuple[slice, ...]
# Every so many voxels are looked at to guess which region is the largest.
STEP = 64


@dataclass(frozen=True)
class Regions:
    """The connected regions of a mask.

    Attributes:
        numbers: int32, of the shape of the mask: the number of each voxel's region, from 1; 0 outside the mask.
        count: how many there are.
        mask: whose they are.
    """

    numbers: NDArray[np.int32]
    count: int
    mask: NDArray[np.bool_]

    def sizes(self) -> NDArray[np.int64]:
        """Return the voxels of each region, by its number minus 1."""
        return np.bincount(self.numbers.ravel(order="K"), minlength=self.count + 1)[1:]

    def largest(self) -> NDArray[np.bool_]:
        """Mark the largest region, of equal ones the first.

        Raises:
            ValueError: there is none.
        """
        guessed = np.bincount(self.numbers.ravel(order="K")[::STEP], minlength=self.count + 1)[1:]
        likely = self.numbers == 1 + int(guessed.argmax())
        # What has more than half of the voxels is the largest, and not all need to be counted by region.
        if 2 * np.count_nonzero(likely) > np.count_nonzero(self.mask):
            return likely
        return np.asarray(self.numbers == 1 + int(self.sizes().argmax()))


def find_regions(mask: NDArray[np.bool_]) -> Regions:
    """Return the regions of a mask of any number of axes; neighbours share a face."""
    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
    numbers, count = ndimage.label(mask.transpose(order))
    return Regions(numbers.transpose(np.argsort(order)), int(count), mask)


def bounding_box(mask: NDArray[np.generic], margin: int = 0) -> Box | None:
    """Return the smallest box that holds all of a mask, or of an array what is not 0; nothing where there is nothing.

    Args:
        mask: of any number of axes.
        margin: voxels around it, as far as the array goes.
    """
    box: list[slice] = [slice(None)] * mask.ndim
    # The axis whose planes lie apart in memory comes first: the others then have less to look through.
    for axis in sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])):
        inside = mask[tuple(box)]
        used = np.flatnonzero(inside.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not used.size:
            return None
        box[axis] = slice(int(used[0]), int(used[-1]) + 1)
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, size in zip(box, mask.shape, strict=True)
    )


def shift_box(box: Box, around: Box) -> Box:
    """Return where a box that was found inside another one lies in the whole array."""
    return tuple(
        slice(side.start + outer.start, side.stop + outer.start) for side, outer in zip(box, around, strict=True)
    )
