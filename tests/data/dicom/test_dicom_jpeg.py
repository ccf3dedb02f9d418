from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.header import HeaderReader
from fedgin.data.dicom.pixel_data import decode
from fedgin.data.dicom.reasons import Reason
from tests.data.dicom.series import SeriesSpec, make_slices, reasons, run, the_image, world_error, write_slices


def pack(dataset: pydicom.Dataset, syntax: UID, stream: bytes) -> None:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True


def plain(bits: int, *, signed: bool) -> list[pydicom.Dataset]:
    """Return slices whose values fill this many bits."""
    slices = make_slices(SeriesSpec(shape=(16, 12), dtype="int16" if signed else "uint16", intercept=0.0))
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    rng = np.random.default_rng(7)
    for dataset in slices:
        values = rng.integers(lowest, highest, (16, 12), endpoint=True)
        values[0, :2] = lowest, highest
        dataset.PixelData = values.astype(np.int16 if signed else np.uint16).tobytes()
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
    return slices


def lossless(dataset: pydicom.Dataset, predictor: int) -> bytes:
    """Return the stored bits of a slice as lossless JPEG."""
    bits = dataset.BitsStored
    stored: NDArray[np.uint16] = np.frombuffer(dataset.PixelData, np.uint16).reshape(16, 12) & np.uint16(2**bits - 1)
    return bytes(imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits))


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(("bits", "signed"), [(16, False), (16, True), (12, False), (12, True), (10, False)])
def test_lossless_jpeg_gives_back_every_value(tmp_path: Path, predictor: int, bits: int, signed: bool) -> None:
    slices, packed = plain(bits, signed=signed), plain(bits, signed=signed)
    for dataset, twin in zip(slices, packed, strict=True):
        twin.SeriesInstanceUID = packed[0].SeriesInstanceUID
        pack(twin, JPEGLosslessSV1 if predictor == 1 else JPEGLossless, lossless(dataset, predictor))
    write_slices(tmp_path / "dicom", packed)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize("high", [7, 15])
@pytest.mark.parametrize("signed", [True, False])
def test_a_stream_says_where_its_bits_are_and_not_the_header(tmp_path: Path, high: int, signed: bool) -> None:
    slices, packed = plain(12, signed=signed), plain(12, signed=signed)
    for dataset, twin in zip(slices, packed, strict=True):
        twin.SeriesInstanceUID = packed[0].SeriesInstanceUID
        pack(twin, JPEGLosslessSV1, lossless(dataset, 1))
        twin.HighBit = high
    write_slices(tmp_path / "dicom", packed)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def header(path: str) -> SliceHeader:
    (item,) = HeaderReader().read(Path(path))
    return item


def test_a_scanners_file_with_jpeg_of_12_bits_is_decoded() -> None:
    path = get_testdata_file("JPEG-lossy.dcm")
    assert isinstance(path, str)
    item = header(path)
    values = decode(item.path, item.place, item.facts.syntax, dict(item.facts.pixel))
    assert (item.facts.syntax, values.shape) == (JPEGExtended12Bit, (1024, 256))
    # What pydicom's own tests expect of this file.
    assert (values[420, 140], values[230, 120]) == (244, 95)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGExtended12Bit])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_stream_that_was_cut_off_is_not_filled_up(tmp_path: Path, syntax: UID, kept: float) -> None:
    slices = plain(12, signed=False)
    for dataset in slices:
        stored = np.frombuffer(dataset.PixelData, np.uint16).reshape(16, 12)
        lossy = syntax == JPEGExtended12Bit
        stream = bytes(imagecodecs.jpeg8_encode(stored, bitspersample=12)) if lossy else lossless(dataset, 1)
        pack(dataset, syntax, stream[: int(len(stream) * kept)] if dataset is slices[-1] else stream)
    write_slices(tmp_path / "dicom", slices)
    assert reasons(run(tmp_path)) == [Reason.TRUNCATED]
