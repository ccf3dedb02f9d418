"""Read the pixels of a stack into one volume: rescaled, in the stored orientation, as small a type as loses nothing."""

from collections.abc import Callable

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder

from fedgin.data.dicom.header import SliceHeader
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
    planes = _as_stacked(stack, voxels)
    for number, item in enumerate(stack.slices):
        try:
            values = rescale(_decode(item), item.facts.slope, item.facts.intercept)
        except Exception:  # decoders raise many kinds; all mean that these pixels cannot be had
            return Reason.TRUNCATED
        if values.shape != item.facts.size:
            return Reason.TRUNCATED
        if not fits_int16(values) and voxels.dtype == np.int16:
            voxels = voxels.astype(np.float32, order="F")
            planes = _as_stacked(stack, voxels)
        planes[number] = values
        after_slice()
    return voxels


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


def _as_stacked(stack: Stack, voxels: NDArray[np.generic]) -> NDArray[np.generic]:
    """View ``voxels`` with axes (slice, row, column), so that writing a plane needs no copy of the volume."""
    planes: NDArray[np.generic] = stack.target.with_array(voxels).match_orientation(stack.geometry).array
    return planes


def _decode(item: SliceHeader) -> NDArray[np.generic]:
    """Decode from the place that the header scan found, so that no header is parsed twice."""
    if item.pixels_at is None:
        return pydicom.dcmread(item.path).pixel_array
    with item.path.open("rb") as file:
        file.seek(item.pixels_at)
        options = {**dict(item.facts.pixel), "pixel_keyword": "PixelData"}
        return get_decoder(item.facts.syntax).as_array(file, **options)[0]
