"""Files that are small on disk and would be large in memory; the sizes here are such that a failure hurts nobody."""

import struct
from pathlib import Path
from unittest.mock import Mock

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from fedgin.data.dicom import checks, pixel_data
from fedgin.data.dicom.reasons import Reason
from tests.data.dicom.series import Change, SeriesSpec, reasons, run, the_image, world_error, write_series


def test_a_deflated_file_is_inflated_no_further_than_an_image_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_data, "LARGEST_INFLATED", 2**22)
    read = Mock(wraps=pydicom.dcmread)
    monkeypatch.setattr(pydicom, "dcmread", read)

    def grow(number: int, dataset: pydicom.Dataset) -> None:
        dataset.add_new((0x0013, 0x1010), "OB", bytes(2**23))

    write_series(tmp_path / "dicom", SeriesSpec(syntax=DeflatedExplicitVRLittleEndian, change=grow))
    assert max(path.stat().st_size for path in (tmp_path / "dicom").iterdir()) < 2**15
    assert run(tmp_path).converted == 0
    read.assert_not_called()


def test_an_ordinary_deflated_series_is_converted(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(syntax=DeflatedExplicitVRLittleEndian))
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def as_stream(syntax: UID, stream: bytes) -> Change:
    def change(number: int, dataset: pydicom.Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"

    return change


ZEROS = np.zeros((2000, 2000), np.uint8)


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEGLSLossless, imagecodecs.jpegls_encode(ZEROS)),
        (JPEGBaseline8Bit, imagecodecs.jpeg8_encode(ZEROS)),
        (JPEGLosslessSV1, imagecodecs.jpeg8_encode(ZEROS, lossless=True)),
    ],
    ids=["JPEG-LS", "JPEG", "lossless JPEG"],
)
def test_a_stream_that_is_larger_than_its_header_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: UID, stream: bytes
) -> None:
    decoder = Mock(wraps=get_decoder)
    write_series(tmp_path / "dicom", SeriesSpec(dtype="uint8", change=as_stream(syntax, stream)))
    monkeypatch.setattr(checks, "has_decoder", lambda syntax: True)
    monkeypatch.setattr(pixel_data, "get_decoder", decoder)
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]
    decoder.assert_not_called()


def test_a_series_with_more_voxels_than_any_has_is_left_out(tmp_path: Path) -> None:
    """RLE packs zeros by 64 to 1, so that a series of 25 MB had 6 GB in memory."""
    stream = struct.pack("<16L", 1, 64, *[0] * 14) + bytes([129, 0])

    def change(number: int, dataset: pydicom.Dataset) -> None:
        as_stream(RLELossless, stream)(number, dataset)
        dataset.Rows = dataset.Columns = 20000

    write_series(tmp_path / "dicom", SeriesSpec(dtype="uint8", change=change))
    assert reasons(run(tmp_path)) == [Reason.TOO_LARGE]
