from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from fedgin.data.dicom.convert import fits_int16, rescale
from tests.data.dicom.series import (
    SeriesSpec,
    make_rules,
    make_slices,
    run,
    the_image,
    world_error,
    write_pixels,
    write_series,
    write_slices,
)


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        pytest.param(SeriesSpec(), "int16", id="unsigned, HU"),
        pytest.param(SeriesSpec(dtype="int16", intercept=0.0), "int16", id="signed"),
        pytest.param(SeriesSpec(dtype="int16", intercept=-1024.0), "int16", id="signed, HU"),
        pytest.param(SeriesSpec(slope=2.0, intercept=-1000.0), "int16", id="whole slope"),
        pytest.param(SeriesSpec(slope=0.5), "float32", id="half slope"),
        pytest.param(SeriesSpec(intercept=-1024.5), "float32", id="half intercept"),
        pytest.param(SeriesSpec(dtype="uint8", intercept=0.0), "int16", id="8 bit"),
        pytest.param(SeriesSpec(slope=20.0), "float32", id="beyond int16"),
        pytest.param(SeriesSpec(intercept=3e9), "float32", id="far beyond int16"),
        pytest.param(SeriesSpec(syntax=ExplicitVRBigEndian), "int16", id="big endian"),
        pytest.param(SeriesSpec(syntax=ExplicitVRBigEndian, dtype="int16"), "int16", id="big endian signed"),
        pytest.param(SeriesSpec(syntax=ImplicitVRLittleEndian), "int16", id="implicit"),
        pytest.param(SeriesSpec(syntax=DeflatedExplicitVRLittleEndian), "int16", id="deflated"),
    ],
)
def test_values_are_rescaled_and_kept_small(tmp_path: Path, spec: SeriesSpec, dtype: str) -> None:
    slices = write_series(tmp_path / "dicom", spec)
    assert run(tmp_path).converted == 1
    image = the_image(tmp_path)
    assert image.get_data_dtype() == np.dtype(dtype)
    assert world_error(image, slices) < 1e-3


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_compressed_pixels_are_decoded(tmp_path: Path, syntax: pydicom.uid.UID, dtype: str) -> None:
    plain = make_slices(SeriesSpec(shape=(16, 16), dtype=dtype))
    packed = make_slices(SeriesSpec(shape=(16, 16), dtype=dtype, change=lambda _, dataset: dataset.compress(syntax)))
    write_slices(tmp_path / "dicom", packed)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), plain) < 1e-3


def test_each_slice_has_its_own_slope(tmp_path: Path) -> None:
    def vary(number: int, dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope = 1 + number / 4

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=vary))
    run(tmp_path)
    assert the_image(tmp_path).get_data_dtype() == np.float32
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_full_16_bit_range_is_lossless(tmp_path: Path) -> None:
    def extremes(number: int, dataset: pydicom.Dataset) -> None:
        write_pixels(dataset, np.array([[0, 65535], [number, 32768]], dtype=np.uint16))

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=extremes))
    run(tmp_path)
    assert the_image(tmp_path).get_data_dtype() == np.float32
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_inverted_display_does_not_invert_hounsfield_units(tmp_path: Path) -> None:
    def invert(_: int, dataset: pydicom.Dataset) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=invert))
    run(tmp_path)
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_without_rescale_the_stored_values_stay(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(modality="MR"))
    run(tmp_path, make_rules(modality="MR"))
    assert "RescaleSlope" not in slices[0]
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_images_are_compressed_on_wish(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom")
    run(tmp_path, make_rules(compress=True))
    assert [path.suffixes for path in (tmp_path / "out" / "images").iterdir()] == [[".nii", ".gz"]]
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_rescale_has_no_overflow() -> None:
    assert rescale(np.array([65535], dtype=np.uint16), 70000.0, 1.0).tolist() == [65535 * 70000 + 1]
    assert rescale(np.array([2**31], dtype=np.uint32), 1.0, -1.0).tolist() == [2**31 - 1]


def test_int16_holds_its_limits_only() -> None:
    assert fits_int16(np.array([-32768, 32767]))
    assert not fits_int16(np.array([-32769]))
    assert not fits_int16(np.array([1.0]))
