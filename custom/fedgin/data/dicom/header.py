"""Read one DICOM header: only what ingest needs, in plain values, with the place of the pixel data for later."""

import logging
import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal
from warnings import catch_warnings, simplefilter

import pydicom
from pydicom.config import disable_value_validation
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from fedgin.data.dicom.elements import numbers, text
from fedgin.data.dicom.facts import FACT_SEQUENCES, FACT_TAGS, SERIES_UID, Facts, SliceHeader, convert_facts
from fedgin.data.dicom.functional_groups import frames_of
from fedgin.data.dicom.pixel_data import check_inflated, find_pixels, transfer_syntax
from fedgin.data.dicom.traits import traits_of
from fedgin.errors import DataError

_ENHANCED = (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
# Files without the 128-byte preamble start with one of the first elements of group 0002 or 0008, and that is short.
_FIRST_ELEMENTS = (0x00, 0x01, 0x05, 0x06, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18)
_LONGEST_FIRST_VALUE = 1024


@contextmanager
def quiet_reading() -> Iterator[None]:
    """Keep back what pydicom and highdicom warn and log: they quote header values, and those may be identifiers."""
    # By level, because that holds for the loggers below these, too.
    before = {logger: logger.level for logger in map(logging.getLogger, ("pydicom", "highdicom"))}
    with catch_warnings(), disable_value_validation():
        simplefilter("ignore")
        for logger in before:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in before.items():
                logger.setLevel(level)


class DamagedHeaderError(DataError):
    """A file is DICOM, but its header cannot be parsed.

    Args:
        series: private key of its series where the header is sound that far, else empty.
    """

    code = "FG-021"

    def __init__(self, series: str) -> None:
        super().__init__("a DICOM header cannot be parsed", "copy or export the file again")
        self.series = series


class HeaderReader:
    """Reads headers; what files share is converted and kept once, which saves most of the time and memory."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Facts] = {}

    def read(self, path: Path) -> list[SliceHeader]:
        """Read the header of a file: one slice, or one a frame; empty when the file is no DICOM.

        Raises:
            DamagedHeaderError: it is DICOM, but the header cannot be parsed.
            OSError: the file cannot be opened.
        """
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(132)):
                return []
            try:
                return self._slices(path, file)
            except Exception:  # pydicom raises many kinds, with header values in their text
                raise DamagedHeaderError(_series_of_damaged(file)) from None

    def _slices(self, path: Path, file: BinaryIO) -> list[SliceHeader]:
        check_inflated(file)
        file.seek(0)
        status = os.fstat(file.fileno())
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        place = find_pixels(file, dataset)
        frames = list(_frames(dataset)) or [dataset]
        placed = frames[0] is not dataset
        return [
            SliceHeader(
                path=path,
                facts=self._facts(path, frame, transfer_syntax(dataset, place), placed=placed),
                instance=text(dataset, "SOPInstanceUID"),
                position=numbers(frame, "ImagePositionPatient"),
                place=place,
                stamp=(status.st_size, status.st_mtime_ns),
                traits=traits_of(frame),
                frame=number if placed else None,
            )
            for number, frame in enumerate(frames)
        ]

    def _facts(self, path: Path, dataset: pydicom.Dataset, syntax: str, *, placed: bool) -> Facts:
        """Look the facts up by the bytes they are made of."""
        if any(keyword in dataset for keyword in FACT_SEQUENCES):
            return convert_facts(path, dataset, syntax, placed=placed)
        raw = (_bytes(dataset, tag) for tag in FACT_TAGS)
        key = (path.parent, syntax, placed, dataset.file_meta.get("MediaStorageSOPClassUID"), *raw)
        if key not in self._known:
            self._known[key] = convert_facts(path, dataset, syntax, placed=placed)
        return self._known[key]


def _frames(dataset: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Yield the header as it holds for each frame of an enhanced image; nothing for any other object."""
    if text(dataset, "SOPClassUID") not in _ENHANCED:
        return
    common = pydicom.Dataset()
    for element in dataset:
        if element.VR != "SQ":
            common.add(element)
    for elements in frames_of(dataset):
        frame = pydicom.Dataset()
        frame.update(common)
        frame.update(elements)
        frame.file_meta = dataset.file_meta
        if "FrameType" in frame:
            frame.ImageType = frame.FrameType
        yield frame


def looks_like_dicom(start: bytes) -> bool:
    """Tell it of a file's first 132 bytes; some writers leave out the preamble and the letters after it."""
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
        return text(read_partial(file, lambda tag, _, __: tag > SERIES_UID, force=True), "SeriesInstanceUID")
    except Exception:  # as many kinds as in a whole header
        return ""


def _bytes(dataset: pydicom.Dataset, tag: BaseTag) -> object:
    if tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    return value if isinstance(value, bytes) else str(value)
