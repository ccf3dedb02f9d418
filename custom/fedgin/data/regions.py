"""Connected regions of a mask, and the box around it, along the order in which its voxels lie in memory.

NIfTI and DICOM voxels lie in Fortran order. scipy writes its regions in C order, which takes twice as long there.
"""

from collections.abc import Iterable
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


def label_boxes(labels: NDArray[np.uint8], count: int) -> list[Box | None]:
    """Return the box around each label from 1 to ``count``; nothing for one that does not occur."""
    around = bounding_box(labels)
    if around is None:
        return [None] * count
    # scipy looks at every voxel, in C order, and most are background.
    inside = np.ascontiguousarray(labels[around].T)
    found = ndimage.find_objects(inside, max_label=count)
    return [box and shift_box(box[::-1], around) for box in found]


@dataclass(frozen=True)
class Cut:
    """What a label was before only its largest region was left.

    Attributes:
        regions: how many it had, 2 or more.
        share: that of the largest, above 0 and below 1.
    """

    regions: int
    share: float


def keep_largest_regions(labels: NDArray[np.uint8], kept: Iterable[int]) -> dict[int, Cut]:
    """Set to 0, in place, what does not belong to the largest region of its label.

    Args:
        labels: of any number of axes.
        kept: the labels that it is done for, from 1.

    Returns:
        by label, what was cut; labels that have one region or none are not named.
    """
    chosen = list(kept)
    boxes = label_boxes(labels, max(chosen, default=0))
    cuts = {}
    for label in chosen:
        box = boxes[label - 1]
        if box is None:
            continue
        mask = labels[box] == label
        regions = find_regions(mask)
        if regions.count > 1:
            largest = regions.largest()
            labels[box][mask & ~largest] = 0
            cuts[label] = Cut(regions.count, float(np.count_nonzero(largest) / np.count_nonzero(mask)))
    return cuts
