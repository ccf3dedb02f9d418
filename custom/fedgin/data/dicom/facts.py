"""What ingest needs to know of one slice, in plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.pixels.utils import as_pixel_options
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, MRImageStorage

from fedgin.data.dicom.elements import number, numbers, text, values
from fedgin.data.dicom.pixel_data import PixelPlace, bits_below
from fedgin.data.dicom.traits import NO_TRAITS, Traits

SERIES_UID = Tag("SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the slices of a series normally share.

    Attributes:
        patient: private key of the patient; from the patient id, or from the next best the header has.
        has_patient_id: whether ``patient`` is from the patient id.
        series: private key of the series: its UID, or what stands in for a blank one.
        frame: frame of reference UID, may be empty.
        modality: as in the header.
        sop_class: UID of the kind of object.
        description: series description; private, it may hold a name.
        image_type: upper case.
        syntax: transfer syntax UID.
        burned_in: whether the header says that text is burned into the pixels.
        nonlinear: whether a modality lookup table replaces slope and intercept.
        references: UIDs of the series that the object refers to.
        colour: more than one sample a pixel, or a palette.
        frames: number of frames in a file that does not place them in space; else 1.
        size: (rows, columns); (0, 0) without an image.
        spacing: distance between rows and between columns in mm; empty when absent.
        orientation: direction of a row, then of a column, LPS+; empty when absent.
        rescaled: whether the header gives slope and intercept.
        rescale_type: unit of the rescaled values, upper case; empty when absent.
        slope: rescale slope.
        intercept: rescale intercept.
        pixel: (option, value) pairs with which pydicom decodes the pixel data; empty without an image.
        shift: number of bits of a stored word below those of the value; negative where the header cannot be right.
    """

    patient: str
    has_patient_id: bool
    series: str
    frame: str
    modality: str
    sop_class: str
    description: str
    image_type: tuple[str, ...]
    syntax: str
    burned_in: bool
    nonlinear: bool
    references: tuple[str, ...]
    colour: bool
    frames: int
    size: tuple[int, int]
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    rescaled: bool
    rescale_type: str
    slope: float
    intercept: float
    pixel: tuple[tuple[str, Any], ...]
    shift: int


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice: a single-frame file, or a frame of a multi-frame file.

    Attributes:
        path: the file; private.
        facts: one object for all slices that agree in them.
        instance: SOP instance UID, may be empty; private.
        position: centre of the first pixel, LPS+ mm; empty when absent.
        place: where the pixel data are in the file.
        traits: what tells slices at one position apart.
        frame: number of the frame from 0 in a multi-frame file; ``None`` in another.
        stamp: (bytes, modification time in ns) of the file.
    """

    path: Path
    facts: Facts
    instance: str
    position: tuple[float, ...]
    place: PixelPlace
    stamp: tuple[int, int]
    traits: Traits = NO_TRAITS
    frame: int | None = None


# Every element that goes into Facts; sequences are looked at apart.
FACT_TAGS = tuple(
    Tag(keyword)
    for keyword in (
        *("SpecificCharacterSet", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("Modality", "SeriesNumber", "SeriesDescription", "SOPClassUID", "ImageType", "BurnedInAnnotation"),
        *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing"),
        *("ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    )
)
FACT_SEQUENCES = ("ModalityLUTSequence", "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence")


def convert_facts(path: Path, dataset: pydicom.Dataset, syntax: str, *, placed: bool) -> Facts:
    """Convert a header, or what it says of one frame.

    Args:
        path: the file.
        dataset: the elements.
        syntax: transfer syntax.
        placed: whether it is one frame of a multi-frame file, with a place of its own.

    Raises:
        ValueError: it does not say what it is, or a value is no number.
    """
    # De-identified exports blank identifiers even in the body; the file meta group keeps the class.
    sop_class = text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if not sop_class or _is_cut_off(dataset, sop_class):
        raise ValueError
    patient = text(dataset, "PatientID").casefold()
    shift = bits_below(dataset, syntax)
    samples, palette = dataset.get("SamplesPerPixel") or 1, text(dataset, "PhotometricInterpretation")[:7] == "PALETTE"
    return Facts(
        patient=f"id:{patient}" if patient else _stand_in_patient(path, dataset),
        has_patient_id=bool(patient),
        series=text(dataset, "SeriesInstanceUID") or _stand_in_series(path, dataset),
        frame=text(dataset, "FrameOfReferenceUID") or _referenced_frame(dataset),
        modality=text(dataset, "Modality").upper(),
        sop_class=sop_class,
        description=text(dataset, "SeriesDescription"),
        image_type=tuple(str(part).upper() for part in values(dataset, "ImageType")),
        syntax=syntax,
        burned_in=text(dataset, "BurnedInAnnotation").upper() == "YES",
        nonlinear="ModalityLUTSequence" in dataset,
        references=_referenced_series(dataset),
        colour=int(samples) > 1 or palette,
        frames=1 if placed else int(dataset.get("NumberOfFrames") or 1),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        spacing=numbers(dataset, "PixelSpacing"),
        orientation=numbers(dataset, "ImageOrientationPatient"),
        rescaled=all(values(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")),
        rescale_type=text(dataset, "RescaleType").upper(),
        slope=number(dataset, "RescaleSlope", 1.0),
        intercept=number(dataset, "RescaleIntercept", 0.0),
        pixel=_pixel_options(dataset, shift),
        shift=shift,
    )


def _pixel_options(dataset: pydicom.Dataset, shift: int) -> tuple[tuple[str, Any], ...]:
    """Return what pydicom asks for, without a table of offsets: each file has its own, and frames lie in their order.

    pydicom clears the bits above a value, and extends its sign, where the value begins at the lowest bit. Bits below it
    count as stored here, and are shifted out later.
    """
    if "Rows" not in dataset:
        return ()
    options = as_pixel_options(dataset)
    options.pop("extended_offsets", None)
    if shift:
        options["bits_stored"] += shift
    return tuple(options.items())


def _is_cut_off(dataset: pydicom.Dataset, sop_class: str) -> bool:
    """An image without size that does not even come to its series ended early; pydicom reads such a file in silence."""
    return sop_class in (CTImageStorage, MRImageStorage) and "Rows" not in dataset and SERIES_UID not in dataset


def _stand_in_patient(path: Path, dataset: pydicom.Dataset) -> str:
    """A blank patient id: one study, else one frame of reference, else one folder is taken for one patient."""
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if value := text(dataset, keyword):
            return f"{keyword}:{value}"
    return f"folder:{path.parent}"


def _stand_in_series(path: Path, dataset: pydicom.Dataset) -> str:
    """A blank series UID: files of one folder that agree in what else tells series apart are one series."""
    keywords = ("StudyInstanceUID", "FrameOfReferenceUID", "Modality", "SeriesNumber", "SeriesDescription")
    return "|".join(["blank", str(path.parent), *(text(dataset, keyword) for keyword in keywords)])


def _referenced_series(dataset: pydicom.Dataset) -> tuple[str, ...]:
    """Return the series of a segmentation, or those that an RTSTRUCT names two levels down."""
    items = list(dataset.get("ReferencedSeriesSequence") or [])
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            items += study.get("RTReferencedSeriesSequence") or []
    return tuple(uid for uid in (text(item, "SeriesInstanceUID") for item in items) if uid)


def _referenced_frame(dataset: pydicom.Dataset) -> str:
    frames = dataset.get("ReferencedFrameOfReferenceSequence") or []
    return text(frames[0], "FrameOfReferenceUID") if frames else ""
