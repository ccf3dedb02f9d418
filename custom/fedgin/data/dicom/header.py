"""Read one DICOM header: only what ingest needs, in plain values, with the place of the pixel data for later."""

import logging
import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from warnings import catch_warnings, simplefilter

import pydicom
from pydicom.config import disable_value_validation
from pydicom.filereader import read_partial
from pydicom.pixels.utils import as_pixel_options
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage, MRImageStorage

from fedgin.data.dicom.elements import number, numbers, text, values
from fedgin.data.dicom.pixel_data import PixelPlace, find_pixels, transfer_syntax
from fedgin.errors import DataError

_SERIES_UID = Tag("SeriesInstanceUID")
# Files without the 128-byte preamble start with one of the first elements of group 0002 or 0008, and that is short.
_FIRST_ELEMENTS = (0x00, 0x01, 0x05, 0x06, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18)
_LONGEST_FIRST_VALUE = 1024


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
        frames: number of frames in a file.
        size: (rows, columns); (0, 0) without an image.
        spacing: distance between rows and between columns in mm; empty when absent.
        orientation: direction of a row, then of a column, LPS+; empty when absent.
        rescaled: whether the header gives slope and intercept.
        rescale_type: unit of the rescaled values, upper case; empty when absent.
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


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One file.

    Attributes:
        path: the file; private.
        facts: one object for all slices that agree in them.
        instance: SOP instance UID, may be empty; private.
        position: centre of the first pixel, LPS+ mm; empty when absent.
        place: where the pixel data are in the file.
        stamp: (bytes, modification time in ns) of the file.
    """

    path: Path
    facts: Facts
    instance: str
    position: tuple[float, ...]
    place: PixelPlace
    stamp: tuple[int, int]


# Every element that goes into Facts; sequences are looked at apart.
_FACT_TAGS = tuple(
    Tag(keyword)
    for keyword in (
        *("SpecificCharacterSet", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("Modality", "SeriesNumber", "SeriesDescription", "SOPClassUID", "ImageType", "BurnedInAnnotation"),
        *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelSpacing", "ImageOrientationPatient"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType"),
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


class DamagedHeaderError(DataError):
    """A file is DICOM, but its header cannot be parsed.

    Args:
        series: private key of its series where the header is sound that far, else empty.
    """

    def __init__(self, series: str) -> None:
        super().__init__("a DICOM header cannot be parsed", "copy or export the file again")
        self.series = series


class HeaderReader:
    """Reads headers; what files share is converted and kept once, which saves most of the time and memory."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Facts] = {}

    def read(self, path: Path) -> SliceHeader | None:
        """Read the header of a file; ``None`` when the file is no DICOM.

        Raises:
            DamagedHeaderError: it is DICOM, but the header cannot be parsed.
            OSError: the file cannot be opened.
        """
        with path.open("rb") as file:
            if not _looks_like_dicom(file.read(132)):
                return None
            try:
                return self._slice(path, file)
            except Exception:  # pydicom raises many kinds, with header values in their text
                raise DamagedHeaderError(_series_of_damaged(file)) from None

    def _slice(self, path: Path, file: BinaryIO) -> SliceHeader:
        file.seek(0)
        status = os.fstat(file.fileno())
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        place = find_pixels(file, dataset)
        return SliceHeader(
            path=path,
            facts=self._facts(path, dataset, place),
            instance=text(dataset, "SOPInstanceUID"),
            position=numbers(dataset, "ImagePositionPatient"),
            place=place,
            stamp=(status.st_size, status.st_mtime_ns),
        )

    def _facts(self, path: Path, dataset: pydicom.Dataset, place: PixelPlace) -> Facts:
        """Look the facts up by the bytes they are made of."""
        syntax = transfer_syntax(dataset, place)
        if any(keyword in dataset for keyword in _SEQUENCES):
            return _convert_facts(path, dataset, syntax)
        raw = (_bytes(dataset, tag) for tag in _FACT_TAGS)
        key = (path.parent, syntax, dataset.file_meta.get("MediaStorageSOPClassUID"), *raw)
        if key not in self._known:
            self._known[key] = _convert_facts(path, dataset, syntax)
        return self._known[key]


def _looks_like_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM" or any(_is_bare(start, order) for order in ("little", "big"))


def _is_bare(start: bytes, order: Literal["little", "big"]) -> bool:
    group, element = (int.from_bytes(start[at : at + 2], order) for at in (0, 2))
    if len(start) < 12 or group not in (0x0002, 0x0008) or element not in _FIRST_ELEMENTS:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], order) <= _LONGEST_FIRST_VALUE


def _series_of_damaged(file: BinaryIO) -> str:
    """Read as far as the series UID: a slice that broke later still belongs to its series."""
    try:
        file.seek(0)
        return text(read_partial(file, lambda tag, _, __: tag > _SERIES_UID, force=True), "SeriesInstanceUID")
    except Exception:  # as many kinds as in a whole header
        return ""


def _bytes(dataset: pydicom.Dataset, tag: BaseTag) -> object:
    if tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    return value if isinstance(value, bytes) else str(value)


def _convert_facts(path: Path, dataset: pydicom.Dataset, syntax: str) -> Facts:
    """Raises ValueError for a file that does not say what it is."""
    # De-identified exports blank identifiers even in the body; the file meta group keeps the class.
    sop_class = text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if not sop_class or _is_cut_off(dataset, sop_class):
        raise ValueError
    patient = text(dataset, "PatientID").casefold()
    samples, palette = dataset.get("SamplesPerPixel") or 1, text(dataset, "PhotometricInterpretation")[:7] == "PALETTE"
    return Facts(
        patient=f"id:{patient}" if patient else _stand_in_patient(path, dataset),
        has_patient_id=bool(patient),
        series=text(dataset, "SeriesInstanceUID") or _stand_in_series(path, dataset),
        frame=text(dataset, "FrameOfReferenceUID"),
        modality=text(dataset, "Modality").upper(),
        sop_class=sop_class,
        description=text(dataset, "SeriesDescription"),
        image_type=tuple(str(part).upper() for part in values(dataset, "ImageType")),
        syntax=syntax,
        burned_in=text(dataset, "BurnedInAnnotation").upper() == "YES",
        nonlinear="ModalityLUTSequence" in dataset,
        references=_referenced_series(dataset),
        colour=int(samples) > 1 or palette,
        frames=int(dataset.get("NumberOfFrames") or 1),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        spacing=numbers(dataset, "PixelSpacing"),
        orientation=numbers(dataset, "ImageOrientationPatient"),
        rescaled=all(values(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")),
        rescale_type=text(dataset, "RescaleType").upper(),
        slope=number(dataset, "RescaleSlope", 1.0),
        intercept=number(dataset, "RescaleIntercept", 0.0),
        pixel=tuple(as_pixel_options(dataset).items()) if "Rows" in dataset else (),
    )


def _is_cut_off(dataset: pydicom.Dataset, sop_class: str) -> bool:
    """An image without size that does not even come to its series ended early; pydicom reads such a file in silence."""
    return sop_class in (CTImageStorage, MRImageStorage) and "Rows" not in dataset and _SERIES_UID not in dataset


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
    references = dataset.get("ReferencedSeriesSequence") or []
    return tuple(uid for uid in (text(item, "SeriesInstanceUID") for item in references) if uid)
