"""DICOM SEG to one label volume on the grid of the image: by segment name, without resampling."""

from collections.abc import Sequence

import numpy as np
from highdicom.seg import Segmentation, segread
from highdicom.volume import Volume as DicomVolume
from highdicom.volume import VolumeGeometry
from numpy.typing import NDArray

from fedgin.data.dicom.header import SliceHeader
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import LabelRules, comparable
from fedgin.data.dicom.stack import Stack
from fedgin.data.volumes import GRID_TOLERANCE_MM, Volume, grid_distance_mm

# Relative; also what highdicom may round away when it lines up two grids.
ALIGNMENT_TOLERANCE = 1e-3


def read_labels(segmentations: Sequence[SliceHeader], rules: LabelRules, stack: Stack) -> NDArray[np.uint8] | Reason:
    """Put the organs of all segmentations of one series into one volume.

    Args:
        segmentations: DICOM SEG files that reference the series.
        rules: which segments become which organs.
        stack: the series.

    Returns:
        Ids [X, Y, Z] on ``stack.target``, 0 where no organ is, or the reason why there is no such volume.
    """
    labels = np.zeros(stack.target.spatial_shape, dtype=np.uint8, order="F")
    found: set[str] = set()
    for item in segmentations:
        if item.facts.frame != stack.slices[0].facts.frame:
            return Reason.LABEL_GRID
        fault = _add(item, rules, stack.target, labels, found)
        if fault is not None:
            return fault
    missing = set(rules.ids) - found - set(rules.may_be_absent)
    return Reason.LABEL_NAMES if missing or not found else labels


def _add(
    item: SliceHeader, rules: LabelRules, target: VolumeGeometry, labels: NDArray[np.uint8], found: set[str]
) -> Reason | None:
    """Draw the organs of one file into ``labels``."""
    try:
        segmentation = segread(item.path)
        organs = _segments_by_organ(segmentation, rules)
    except Exception:  # pydicom and highdicom raise many kinds, with header values in their text
        return Reason.LABEL_NOT_READABLE
    for organ, numbers in organs.items():
        if organ in found:
            return Reason.LABEL_TWICE
        found.add(organ)
        mask = _mask(segmentation, numbers, target)
        if isinstance(mask, Reason):
            return mask
        if np.any(labels[mask]):
            return Reason.LABEL_OVERLAP
        labels[mask] = rules.ids[organ]
    return None


def _segments_by_organ(segmentation: Segmentation, rules: LabelRules) -> dict[str, list[int]]:
    organs: dict[str, list[int]] = {}
    for number in segmentation.segment_numbers:
        name = comparable(segmentation.get_segment_description(number).segment_label)
        if name in rules.by_segment:
            organs.setdefault(rules.by_segment[name], []).append(int(number))
    return organs


def _mask(segmentation: Segmentation, numbers: list[int], target: VolumeGeometry) -> NDArray[np.bool_] | Reason:
    try:
        # Overlap between segments of one organ is no fault; between organs it is found when they are drawn.
        volume = segmentation.get_volume(segment_numbers=numbers, combine_segments=True, skip_overlap_checks=True)
    except Exception:  # fractional values, slices that are no stack, damaged pixels
        return Reason.LABEL_NOT_READABLE
    return _fit(volume.with_array((volume.array > 0).astype(np.uint8)), target)


def _fit(mask: DicomVolume, target: VolumeGeometry) -> NDArray[np.bool_] | Reason:
    """Flip, permute, pad and crop only; highdicom would also skip voxels of a finer grid, which is resampling."""
    if not np.isclose(mask.voxel_volume, target.voxel_volume, rtol=ALIGNMENT_TOLERANCE):
        return Reason.LABEL_GRID
    try:
        fitted = mask.match_geometry(target, tol=ALIGNMENT_TOLERANCE)
    except (RuntimeError, ValueError, IndexError):
        return Reason.LABEL_GRID
    drawn: NDArray[np.bool_] = fitted.array.astype(bool)
    if drawn.shape != target.spatial_shape or int(drawn.sum()) != int(mask.array.sum()):
        return Reason.LABEL_GRID
    distance = grid_distance_mm(Volume(drawn, fitted.affine), Volume(drawn, target.affine))
    return Reason.LABEL_GRID if distance > GRID_TOLERANCE_MM else drawn
