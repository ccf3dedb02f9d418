"""Enhanced multi-frame objects that tests write, made from single-frame slices."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import pydicom
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, generate_uid

FrameChange = Callable[[int, pydicom.Dataset], None]


def as_enhanced(slices: Sequence[pydicom.Dataset], change: FrameChange | None = None) -> pydicom.Dataset:
    """Put slices into one enhanced object; ``change`` gets number and functional groups of every frame last."""
    dataset = deepcopy(slices[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.SOPClassUID = EnhancedMRImageStorage if dataset.Modality == "MR" else EnhancedCTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.NumberOfFrames = len(slices)
    dataset.PixelData = b"".join(item.PixelData for item in slices)
    dataset["PixelData"].VR = "OW"
    shared = pydicom.Dataset()
    measures = {"PixelSpacing": slices[0].PixelSpacing, "SliceThickness": slices[0].SliceThickness}
    shared.PixelMeasuresSequence = [group(**measures)]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = [groups_of(item) for item in slices]
    for number, frame in enumerate(frames):
        if change is not None:
            change(number, frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def groups_of(item: pydicom.Dataset) -> pydicom.Dataset:
    """Return the functional groups that place and rescale a slice."""
    groups = pydicom.Dataset()
    groups.PlanePositionSequence = [group(ImagePositionPatient=item.ImagePositionPatient)]
    groups.PlaneOrientationSequence = [group(ImageOrientationPatient=item.ImageOrientationPatient)]
    groups.FrameContentSequence = [group(StackID="1")]
    if "RescaleSlope" in item:
        values = {"RescaleSlope": item.RescaleSlope, "RescaleIntercept": item.RescaleIntercept, "RescaleType": "HU"}
        groups.PixelValueTransformationSequence = [group(**values)]
    return groups


def group(**values: object) -> pydicom.Dataset:
    """Return the one item of a functional group."""
    item = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def write_enhanced(path: Path, slices: Sequence[pydicom.Dataset], change: FrameChange | None = None) -> None:
    """Write slices as one enhanced object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    as_enhanced(slices, change).save_as(path, enforce_file_format=True)
