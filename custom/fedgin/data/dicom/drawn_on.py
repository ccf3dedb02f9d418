"""Which images a DICOM SEG says that it was drawn on, and how thick the slices of these are."""

from collections.abc import Sequence

import numpy as np
import pydicom

from fedgin.data.dicom.elements import number, values
from fedgin.data.dicom.functional_groups import frames_of
from fedgin.data.dicom.stack import Stack


def slice_thickness(stack: Stack) -> float:
    """Return the thickness in mm that the header of the first slice states; 0 when it states none that can be read."""
    first = stack.slices[0]
    dataset = pydicom.dcmread(first.path, stop_before_pixels=True, force=True)
    header = dataset if first.frame is None else list(frames_of(dataset))[first.frame]
    try:
        return number(header, "SliceThickness", 0.0)
    except (ValueError, TypeError):
        return 0.0


def is_of_slices(segmentation: pydicom.Dataset, frames: Sequence[pydicom.Dataset], stack: Stack) -> bool:
    """Tell whether a SEG names slices of this series as its images, not every n-th alone, and no others.

    A frame of it that names several was drawn on all of these at once, and so is thicker.

    Args:
        segmentation: the SEG.
        frames: what it says of each frame, as :func:`frames_of` yields it.
        stack: the series.
    """
    series = segmentation.get("ReferencedSeriesSequence") or []
    named = {image.ReferencedSOPInstanceUID for item in series for image in item.ReferencedInstanceSequence}
    own = [number for number, item in enumerate(stack.slices) if item.instance in named]
    if len(own) < 2 or {stack.slices[number].instance for number in own} != named:
        return False
    if np.gcd.reduce(np.diff(own)) > 1 or any(map(_on_several, frames)):
        return False
    return _holds_whole_files(stack, own)


def _holds_whole_files(stack: Stack, own: Sequence[int]) -> bool:
    """Tell whether the files of these slices hold no others: an enhanced image has one name for all its frames."""
    if stack.slices[0].frame is None:
        return True
    paths = {stack.slices[number].path for number in own}
    headers = (pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths)
    return sum(int(header.get("NumberOfFrames") or 1) for header in headers) == len(own)


def _on_several(frame: pydicom.Dataset) -> bool:
    sources = frame.get("SourceImageSequence") or []
    named = {
        (source.ReferencedSOPInstanceUID, image)
        for source in sources
        for image in values(source, "ReferencedFrameNumber") or [0]
    }
    return len(named) > 1
