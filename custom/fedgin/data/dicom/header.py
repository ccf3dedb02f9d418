"""Read one DICOM header: only what ingest needs, in plain values, with the place of the pixel data for later."""

import logging
import os
import struct
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from warnings import catch_warnings, simplefilter

import pydicom
from pydicom.config import disable_value_validation
from pydicom.pixels.utils import as_pixel_options
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fedgin.errors import DataError

# Files without the 128-byte preamble start with an element of group 0002 or 0008 in little endian.
_BARE_STARTS = (b"\x02\x00\x00\x00", b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
_PIXEL_DATA = (0x7FE0, 0x0010)


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
        references: series UID that a segmentation belongs to, or empty.
        colour: more than one sample a pixel, or a palette.
        frames: number of frames in a file.
        size: (rows, columns); (0, 0) without an image.
        spacing: distance between rows and between columns in mm; empty when absent.
        orientation: direction of a row, then of a column, LPS+; empty when absent.
        slope: rescale slope.
        intercept: rescale intercept.
        pixel: (option, value) pairs with which pydicom decodes the pixel data; empty without an image.
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
    references: str
    colour: bool
    frames: int
    size: tuple[int, int]
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    slope: float
    intercept: float
    pixel: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One file.

    Attributes:
        path: the file; private.
        facts: one object for all slices that agree in them.
        instance: SOP instance UID, may be empty; private.
        position: centre of the first pixel, LPS+ mm; empty when absent.
        pixels_at: byte where the value of the pixel data starts; ``None`` when it cannot be addressed.
        stamp: (bytes, modification time in ns) of the file.
    """

    path: Path
    facts: Facts
    instance: str
    position: tuple[float, ...]
    pixels_at: int | None
    stamp: tuple[int, int]


# Every element that goes into Facts; sequences are looked at apart.
_FACT_TAGS = tuple(
    Tag(keyword)
    for keyword in (
        *("SpecificCharacterSet", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("Modality", "SeriesNumber", "SeriesDescription", "SOPClassUID", "ImageType", "BurnedInAnnotation"),
        *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelSpacing", "ImageOrientationPatient"),
        *("RescaleSlope", "RescaleIntercept"),
    )
)
_SEQUENCES = ("ModalityLUTSequence", "ReferencedSeriesSequence")


@contextmanager
def quiet_reading() -> Iterator[None]:
    """Keep back what pydicom warns and logs: it quotes header values, and those may be identifiers."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    with catch_warnings(), disable_value_validation():
        simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = before


class HeaderReader:
    """Reads headers; what files share is converted and kept once, which saves most of the time and memory."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Facts] = {}

    def read(self, path: Path) -> SliceHeader | None:
        """Read the header of a file; ``None`` when the file is no DICOM.

        Raises:
            DataError: it is DICOM, but the header cannot be parsed.
            OSError: the file cannot be opened.
        """
        with path.open("rb") as file:
            if not _looks_like_dicom(file.read(132)):
                return None
            file.seek(0)
            status = os.fstat(file.fileno())
            try:
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
                facts = self._facts(path, dataset)
                return SliceHeader(
                    path=path,
                    facts=facts,
                    instance=_text(dataset, "SOPInstanceUID"),
                    position=_numbers(dataset, "ImagePositionPatient"),
                    pixels_at=_pixels_at(file, facts.syntax),
                    stamp=(status.st_size, status.st_mtime_ns),
                )
            except Exception:  # pydicom raises many kinds, with header values in their text
                raise DataError("a DICOM header cannot be parsed", "copy or export the file again") from None

    def _facts(self, path: Path, dataset: pydicom.Dataset) -> Facts:
        """Look the facts up by the bytes they are made of."""
        if any(keyword in dataset for keyword in _SEQUENCES):
            return _convert_facts(path, dataset)
        meta = dataset.file_meta
        raw = (_bytes(dataset, tag) for tag in _FACT_TAGS)
        key = (path.parent, meta.get("TransferSyntaxUID"), meta.get("MediaStorageSOPClassUID"), *raw)
        if key not in self._known:
            self._known[key] = _convert_facts(path, dataset)
        return self._known[key]


def _looks_like_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM" or start[:4] in _BARE_STARTS


def _bytes(dataset: pydicom.Dataset, tag: BaseTag) -> object:
    if tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    return value if isinstance(value, bytes) else str(value)


def _convert_facts(path: Path, dataset: pydicom.Dataset) -> Facts:
    """Raises ValueError for a file that does not say what it is."""
    meta = dataset.file_meta
    # De-identified exports blank identifiers even in the body; the file meta group keeps the class.
    sop_class = _text(dataset, "SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", ""))
    if not sop_class:
        raise ValueError
    patient = _text(dataset, "PatientID").casefold()
    samples, palette = dataset.get("SamplesPerPixel") or 1, _text(dataset, "PhotometricInterpretation")[:7] == "PALETTE"
    return Facts(
        patient=f"id:{patient}" if patient else _stand_in_patient(path, dataset),
        has_patient_id=bool(patient),
        series=_text(dataset, "SeriesInstanceUID") or _stand_in_series(path, dataset),
        frame=_text(dataset, "FrameOfReferenceUID"),
        modality=_text(dataset, "Modality").upper(),
        sop_class=sop_class,
        description=_text(dataset, "SeriesDescription"),
        image_type=tuple(str(part).upper() for part in _values(dataset, "ImageType")),
        syntax=str(meta.get("TransferSyntaxUID", "")) or ImplicitVRLittleEndian,
        burned_in=_text(dataset, "BurnedInAnnotation").upper() == "YES",
        nonlinear="ModalityLUTSequence" in dataset,
        references=_referenced_series(dataset),
        colour=int(samples) > 1 or palette,
        frames=int(dataset.get("NumberOfFrames") or 1),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        spacing=_numbers(dataset, "PixelSpacing"),
        orientation=_numbers(dataset, "ImageOrientationPatient"),
        slope=_number(dataset, "RescaleSlope", 1.0),
        intercept=_number(dataset, "RescaleIntercept", 0.0),
        pixel=tuple(as_pixel_options(dataset).items()) if "Rows" in dataset else (),
    )


def _stand_in_patient(path: Path, dataset: pydicom.Dataset) -> str:
    """A blank patient id: one study, else one frame of reference, else one folder is taken for one patient."""
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if value := _text(dataset, keyword):
            return f"{keyword}:{value}"
    return f"folder:{path.parent}"


def _stand_in_series(path: Path, dataset: pydicom.Dataset) -> str:
    """A blank series UID: files of one folder that agree in what else tells series apart are one series."""
    keywords = ("StudyInstanceUID", "FrameOfReferenceUID", "Modality", "SeriesNumber", "SeriesDescription")
    return "|".join(["blank", str(path.parent), *(_text(dataset, keyword) for keyword in keywords)])


def _referenced_series(dataset: pydicom.Dataset) -> str:
    references = dataset.get("ReferencedSeriesSequence")
    return _text(references[0], "SeriesInstanceUID") if references else ""


def _pixels_at(file: BinaryIO, syntax: str) -> int | None:
    """Return where the pixel value starts; pydicom leaves the file at the tag, except in a deflated file."""
    if syntax == DeflatedExplicitVRLittleEndian:
        return None
    tag = file.read(4)
    if tag != struct.pack(">HH" if syntax == ExplicitVRBigEndian else "<HH", *_PIXEL_DATA):
        return None
    return file.tell() + (4 if syntax == ImplicitVRLittleEndian else 8)


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()


def _values(dataset: pydicom.Dataset, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | float | int) else list(value)


def _numbers(dataset: pydicom.Dataset, keyword: str) -> tuple[float, ...]:
    return tuple(float(value) for value in _values(dataset, keyword))


def _number(dataset: pydicom.Dataset, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    return default if value is None or value == "" else float(value)
