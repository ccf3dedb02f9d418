"""Read the pixels of a stack into one volume: rescaled, in the stored orientation, as small a type as loses nothing."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.pixel_data import decode
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.stack import Stack

INT16 = np.iinfo(np.int16)


def read_voxels(stack: Stack, after_slice: Callable[[], None]) -> NDArray[np.int16] | NDArray[np.float32] | Reason:
    """Read slice by slice, so that memory holds one volume and one slice.

    Args:
        stack: checked slices.
        after_slice: called once a slice.

    Returns:
        Voxels [X, Y, Z] on ``stack.target``, slope and intercept applied: int16 when every value is a whole number in
        its range, else float32. Or the reason why the pixels cannot be read.
    """
    voxels = np.empty(stack.target.spatial_shape, dtype=np.int16, order="F")
    planes = stack.planes(voxels)
    words = _ShiftedWords()
    for number, item in enumerate(stack.slices):
        try:
            values = rescale(words.values_of(item), item.facts.slope, item.facts.intercept)
        except Exception:  # decoders raise many kinds; all mean that these pixels cannot be had
            return Reason.TRUNCATED
        if values.shape != item.facts.size:
            return Reason.TRUNCATED
        if not fits_int16(values) and voxels.dtype == np.int16:
            voxels = voxels.astype(np.float32, order="F")
            planes = stack.planes(voxels)
        planes[number] = values
        after_slice()
    return Reason.HIGH_BIT if words.are_whole else voxels


def rescale(stored: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    """Apply slope and intercept: in whole numbers while both are whole, else in double precision."""
    if slope.is_integer() and intercept.is_integer() and stored.dtype.itemsize <= 2:
        whole = np.add(stored, int(intercept), dtype=np.int64 if abs(intercept) > 2**30 else np.int32)
        return whole if slope == 1.0 else stored.astype(np.int64) * int(slope) + int(intercept)
    return stored.astype(np.float64) * slope + intercept


def fits_int16(values: NDArray[np.generic]) -> bool:
    """Tell whether every value is a whole number that int16 holds."""
    if not np.issubdtype(values.dtype, np.integer):
        return False
    return bool(values.min() >= INT16.min and values.max() <= INT16.max)


class _ShiftedWords:
    """Reads values that begin above the lowest bit, and judges over the series whether they do."""

    def __init__(self) -> None:
        self._low = True
        self._stray = False

    def values_of(self, item: SliceHeader) -> NDArray[np.generic]:
        """Decode a slice."""
        shift, pixel = item.facts.shift, dict(item.facts.pixel)
        words = decode(item.path, item.place, item.facts.syntax, pixel, item.frame)
        if not shift:
            return words
        most = 2 ** (int(pixel["bits_stored"]) - shift)
        self._low &= bool(words.min() >= -most // 2 and words.max() < most)
        self._stray |= bool((words & (2**shift - 1)).any())
        return words >> shift

    @property
    def are_whole(self) -> bool:
        """Tell whether the header is stale: no word is larger than a value, and the bits below it are in use."""
        return self._low and self._stray
