"""DICOM SEG or RTSTRUCT to one label volume on the grid of the image: by segment name, without resampling."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentationTypeValues
from numpy.typing import NDArray
from pydicom.uid import UID, RTStructureSetStorage

from fedgin.data.dicom.drawn_on import is_of_slices, slice_thickness
from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.functional_groups import frames_of
from fedgin.data.dicom.planes import Plane, lies_on_every_nth
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rtstruct import OffTheSlicesError, drawn_structures, fill, structure_names
from fedgin.data.dicom.rules import LabelRules, comparable
from fedgin.data.dicom.stack import Stack

# Thick slices lie on every n-th thin one. A SEG that states the distance of the image's slices, or that it is of these,
# has no thick ones. An organ on so many of every n-th slice was then drawn so by hand; on fewer, its parts may be small
# and far apart.
_FEW = 5


def read_labels(segmentations: Sequence[SliceHeader], rules: LabelRules, stack: Stack) -> NDArray[np.uint8] | Reason:
    """Put the organs of all segmentations of one series into one volume.

    Args:
        segmentations: DICOM SEG or RTSTRUCT files that reference the series.
        rules: which segments become which organs.
        stack: the series.

    Returns:
        Ids [X, Y, Z] on ``stack.target``, 0 where no organ is, or the reason why there is no such volume.
    """
    labels = np.zeros(stack.target.spatial_shape, dtype=np.uint8, order="F")
    named: set[str] = set()
    for item in segmentations:
        if item.facts.frame != stack.slices[0].facts.frame:
            return Reason.LABEL_GRID
        fault = _add(item, rules, stack, labels, named)
        if fault is not None:
            return fault
    return labels if rules.shows_all(labels) else Reason.LABEL_NAMES


def lies_on(item: SliceHeader, stack: Stack) -> bool:
    """Tell whether every frame of a segmentation lies on a slice of this series."""
    if item.facts.frame != stack.slices[0].facts.frame:
        return False
    if item.facts.sop_class == RTStructureSetStorage:
        return True  # its contours name no grid; they are held against the slices when they are filled
    try:
        thickness = slice_thickness(stack)
        return all(
            Plane.of_frame(frame, item.facts.size, stack.geometry, slice_thickness=thickness).lies_on_grid
            for frame in frames_of(_open(item))
        )
    except Exception:  # pydicom and highdicom raise many kinds
        return False


def _open(item: SliceHeader) -> Segmentation:
    dataset = pydicom.dcmread(item.path, force=True)
    dataset.file_meta.TransferSyntaxUID = UID(item.facts.syntax)
    _name_instances_once(dataset)
    return Segmentation.from_dataset(dataset, copy=False)


def _name_instances_once(dataset: pydicom.Dataset) -> None:
    """Drop an image that is listed under several series from all but the first: highdicom would refuse the object."""
    seen: set[str] = set()
    for series in dataset.get("ReferencedSeriesSequence") or []:
        instances = series.get("ReferencedInstanceSequence") or []
        fresh = {item.ReferencedSOPInstanceUID: item for item in instances if item.ReferencedSOPInstanceUID not in seen}
        series.ReferencedInstanceSequence = list(fresh.values())
        seen.update(fresh)


def _add(
    item: SliceHeader, rules: LabelRules, stack: Stack, labels: NDArray[np.uint8], named: set[str]
) -> Reason | None:
    """Draw the organs of one file into ``labels``."""
    try:
        if item.facts.sop_class == RTStructureSetStorage:
            dataset = pydicom.dcmread(item.path, force=True)
            organs, draw = _organs_by_structure(dataset, rules), partial(_draw_structures, dataset)
        else:
            segmentation = _open(item)
            organs, draw = _organs_by_segment(segmentation, rules), partial(_draw_frames, segmentation)
        if not named.isdisjoint(organs.values()):
            return Reason.LABEL_TWICE
        named.update(organs.values())
        return draw({number: rules.ids[organ] for number, organ in organs.items()}, stack, labels)
    except OffTheSlicesError:
        return Reason.LABEL_GRID
    except Exception:  # pydicom and highdicom raise many kinds, with header values in their text
        return Reason.LABEL_NOT_READABLE


def _organs_by_structure(dataset: pydicom.Dataset, rules: LabelRules) -> dict[int, str]:
    drawn = drawn_structures(dataset)
    names = {number: comparable(name) for number, name in structure_names(dataset).items() if number in drawn}
    return {number: rules.by_segment[name] for number, name in names.items() if name in rules.by_segment}


def _draw_structures(
    dataset: pydicom.Dataset, ids: dict[int, int], stack: Stack, labels: NDArray[np.uint8]
) -> Reason | None:
    planes = stack.planes(labels)
    for structure, label in ids.items():
        for index, mask in fill(dataset, structure, stack.geometry).items():
            if not set(np.unique(planes[index][mask])) <= {0, label}:
                return Reason.LABEL_OVERLAP
            planes[index][mask] = label
    return None


def _organs_by_segment(segmentation: Segmentation, rules: LabelRules) -> dict[int, str]:
    organs = {}
    for number in segmentation.segment_numbers:
        name = comparable(segmentation.get_segment_description(number).segment_label)
        if name in rules.by_segment:
            organs[int(number)] = rules.by_segment[name]
    return organs


def _draw_frames(
    segmentation: Segmentation, ids: dict[int, int], stack: Stack, labels: NDArray[np.uint8]
) -> Reason | None:
    """Draw frame by frame, each on the slice at its position.

    In a binary segmentation a frame holds one segment; in a label map it holds the numbers of all.
    """
    kind = segmentation.segmentation_type
    if kind is SegmentationTypeValues.FRACTIONAL:
        return Reason.LABEL_NOT_READABLE
    frames, planes, thickness = list(frames_of(segmentation)), stack.planes(labels), slice_thickness(stack)
    of_slices = is_of_slices(segmentation, frames, stack)
    levels = defaultdict[tuple[int, int], set[int]](set)
    for number, frame in enumerate(frames, start=1):
        owner = None if kind is SegmentationTypeValues.LABELMAP else int(frame.ReferencedSegmentNumber)
        drawn = [segment for segment in ids if owner in (None, segment)]
        stored = np.asarray(segmentation.get_stored_frame(number)) if drawn else np.empty((0, 0))
        for segment in drawn:
            mask = np.equal(stored, segment if owner is None else 1)
            plane = Plane.of_frame(frame, mask.shape, stack.geometry, slice_thickness=thickness)
            places = plane.places(mask)
            if places is None:
                return Reason.LABEL_GRID
            if not set(np.unique(planes[places])) <= {0, ids[segment]}:
                return Reason.LABEL_OVERLAP
            planes[places] = ids[segment]
            at_least = _FEW if plane.between_slices or (of_slices and plane.axis == 0) else 2
            levels[ids[segment], at_least].update(places[plane.axis][:1].tolist())
    stripes = any(lies_on_every_nth(drawn, at_least) for (_, at_least), drawn in levels.items())
    return Reason.LABEL_GRID if stripes else None
