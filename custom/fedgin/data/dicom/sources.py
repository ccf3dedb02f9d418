"""The headers of the images that a DICOM SEG and an SR refer to, such that highdicom takes them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pydicom
from highdicom import PatientSexValues, SpecificCharacterSetValues
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM, DSfloat

from fedgin.data.dicom.stack import Stack
from fedgin.errors import DataError

# What a SEG takes from its images and refers to them by.
IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# What the standard lets be blank, but not absent; de-identified exports drop it all the same.
MAY_BE_BLANK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "SliceThickness"),
)
# Of these, what highdicom parses, and how; archives hold dates without a day, and sexes in their own language.
PARSED: Mapping[str, Callable[[str], object]] = {
    "PatientBirthDate": DA,
    "PatientSex": PatientSexValues,
    "StudyDate": DA,
    "StudyTime": TM,
}


def read_sources(stack: Stack) -> list[Dataset]:
    """Read the headers of a stack's images, without pixels, in the order of the stack; of enhanced images once a file.

    Raises:
        DataError: the images lack an identifier that a segmentation must refer to, as some de-identified exports do, or
            they are several enhanced images.
    """
    paths = dict.fromkeys(item.path for item in stack.slices)
    if len(paths) > 1 and stack.slices[0].frame is not None:
        raise DataError(
            "the series is in several enhanced images, to which no DICOM SEG can refer",
            "export it as one enhanced image; the labels are written as NIfTI all the same",
        )
    sources: list[Dataset] = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    for source in sources:
        # De-identified exports blank identifiers even in the body; the file meta group keeps these two.
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            if not source.get(keyword):
                setattr(source, keyword, source.file_meta.get(f"MediaStorage{keyword}", ""))
        for keyword in MAY_BE_BLANK:
            source.setdefault(keyword, None)
    missing = [keyword for keyword in IDENTIFIERS if not all(source.get(keyword) for source in sources)]
    if missing:
        raise DataError(
            f"the images have no {', '.join(missing)}, so no DICOM SEG can refer to them",
            "export the series with its identifiers; the labels are written as NIfTI all the same",
        )
    _share_grid(sources, stack)
    _make_legible(sources[0])
    return sources


def _make_legible(source: Dataset) -> None:
    """Decode the text of the image from which SEG and SR take patient and study, and blank what cannot be parsed.

    They have it as UTF-8: highdicom refuses character sets that Japan and Korea use, and a blank one.
    """
    for tag in list(source.keys()):
        with suppress(Exception):  # pydicom raises many kinds; what cannot be read stays as it is
            element = source[tag]  # which decodes it
            for item in element.value if element.VR == "SQ" else ():
                item.decode()
    source.SpecificCharacterSet = SpecificCharacterSetValues.UNICODE_IN_UTF8.value
    for keyword, parse in PARSED.items():
        try:
            parse(source[keyword].value)
        except (ValueError, TypeError):
            source[keyword].value = None


def _share_grid(sources: Sequence[Dataset], stack: Stack) -> None:
    """Say the one orientation of a stack where highdicom looks for it, and to the last digit alike in all images.

    Enhanced images may say it frame by frame, and scanners may round it otherwise in each image. The distance between
    slices is that of the stack: some headers have the gap between them instead, or none. Where they have no thickness,
    which a SEG must have, it is that distance, too: so thick are the voxels.
    """
    distance = DSfloat(float(stack.geometry.spacing[0]), auto_format=True)
    frame = stack.slices[0].frame
    if frame is None:
        for source in sources:
            source.ImageOrientationPatient = sources[0].ImageOrientationPatient
            _place_apart(source, distance)
        return
    for source in sources:
        shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
        for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            groups = source.PerFrameFunctionalGroupsSequence[frame]
            if keyword not in shared[0] and keyword in groups:
                setattr(shared[0], keyword, groups[keyword].value)
        _place_apart(shared[0].PixelMeasuresSequence[0], distance)
        source.SharedFunctionalGroupsSequence = shared


def _place_apart(measures: Dataset, distance: DSfloat) -> None:
    measures.SpacingBetweenSlices = distance
    try:
        known = float(measures.SliceThickness) > 0
    except (AttributeError, TypeError, ValueError):
        known = False
    if not known:
        measures.add_new("SliceThickness", "DS", distance)  # one that cannot be read may have another VR
