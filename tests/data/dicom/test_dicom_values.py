import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from fedgin.data.dicom.convert import fits_int16, rescale
from fedgin.data.dicom.reasons import Reason
from tests.data.dicom.enhanced import as_enhanced
from tests.data.dicom.series import (
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
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


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_table_of_offsets_of_one_file_is_not_taken_for_that_of_the_next(
    tmp_path: Path, syntax: pydicom.uid.UID, frames: int
) -> None:
    """The streams of three slices without noise and of three with it differ in length; other facts are shared."""

    def flatten_the_first(number: int, dataset: pydicom.Dataset) -> None:
        if number < 3:
            dataset.PixelData = np.full((16, 16), number, np.uint16).tobytes()

    spec = SeriesSpec(shape=(16, 16), uid="1.2.3", frame="1.2.4", study="1.2.5", change=flatten_the_first)
    plain, packed = make_slices(spec), make_slices(spec)
    files = packed if frames == 1 else [as_enhanced(packed[:3]), as_enhanced(packed[3:])]
    for dataset in files:
        dataset.compress(syntax, encapsulate_ext=True)
    write_slices(tmp_path / "dicom", files)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), plain) < 1e-3


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8"])
@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_the_encoding_of_files_without_transfer_syntax_is_found(
    tmp_path: Path, implicit: bool, little: bool, dtype: str
) -> None:
    syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    slices = make_slices(SeriesSpec(dtype=dtype, syntax=syntax))
    (tmp_path / "dicom").mkdir()
    for number, dataset in enumerate(slices):
        bare = dataset.copy()
        bare.file_meta = FileMetaDataset()
        path = tmp_path / "dicom" / str(number)
        pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_implicit_files_that_claim_to_be_explicit_are_read(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(syntax=ImplicitVRLittleEndian))
    for path in write_slices(tmp_path / "dicom", slices):
        implicit, explicit = (str(syntax).encode() for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian))
        whole = path.read_bytes()
        # The group's length is not needed to find its end.
        at = whole.index(implicit)
        value = explicit + b"\x00"
        meta = whole[: at - 2] + len(value).to_bytes(2, "little") + value
        meta = meta[:132] + meta[144:]
        path.write_bytes(meta + whole[at + len(implicit) + 1 :])
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_compressed_files_without_transfer_syntax_are_refused(tmp_path: Path) -> None:
    for path in write_slices(
        tmp_path / "dicom", make_slices(SeriesSpec(shape=(16, 16), change=lambda _, d: d.compress(RLELossless)))
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[whole.index(b"\x08\x00\x08\x00") :])
    assert reasons(run(tmp_path)) == [Reason.NO_DECODER]


@pytest.mark.parametrize("shape", [(7, 5), (8, 6)])
def test_bytes_in_big_endian_words_are_put_in_order(tmp_path: Path, shape: tuple[int, int]) -> None:
    plain = make_slices(SeriesSpec(dtype="uint8", shape=shape))
    slices = make_slices(SeriesSpec(dtype="uint8", shape=shape, syntax=ExplicitVRBigEndian))
    for dataset in slices:
        padded = dataset.PixelData + bytes(len(dataset.PixelData) % 2)
        dataset.PixelData = np.frombuffer(padded, np.uint16).byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    write_slices(tmp_path / "dicom", slices)
    assert run(tmp_path).converted == 1
    for dataset, twin in zip(plain, slices, strict=True):
        dataset.ImagePositionPatient = twin.ImagePositionPatient
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


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, None])
@pytest.mark.parametrize("high_bit", [11, 13, 15])
@pytest.mark.parametrize("signed", [True, False])
def test_the_bits_of_a_value_are_found_and_others_are_not_part_of_it(
    tmp_path: Path, syntax: pydicom.uid.UID | None, high_bit: int, signed: bool
) -> None:
    """Twelve bits of a word are the value; above and below are those of an overlay, as old exports have them."""
    spec = SeriesSpec(shape=(16, 12), dtype="int16" if signed else "uint16", syntax=syntax or ExplicitVRLittleEndian)
    slices, rng = make_slices(spec), np.random.default_rng(3)
    twins = make_slices(spec)
    for dataset, twin in zip(slices, twins, strict=True):
        low, high = (-2048, 2047) if signed else (0, 4095)
        values = rng.integers(low, high, (16, 12), endpoint=True).astype(spec.dtype)
        values[0, :2] = low, high
        write_pixels(dataset, values)
        mask, shift = 0xFFF, high_bit - 11
        overlay = rng.integers(0, 65535, (16, 12), dtype=np.uint16, endpoint=True) & ~np.uint16(mask << shift)
        write_pixels(twin, ((values.view(np.uint16) & mask) << shift | overlay).astype(np.uint16))
        twin.BitsStored, twin.HighBit, twin.PixelRepresentation = 12, high_bit, int(signed)
        twin.SOPInstanceUID, twin.ImagePositionPatient = dataset.SOPInstanceUID, dataset.ImagePositionPatient
        if syntax is None:
            twin.compress(RLELossless)
    write_slices(tmp_path / "dicom", twins)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize(
    ("stored", "high", "syntax"), [(12, 10, ExplicitVRLittleEndian), (16, 16, RLELossless), (12, 16, RLELossless)]
)
def test_a_highest_bit_that_cannot_be_is_refused(
    tmp_path: Path, stored: int, high: int, syntax: pydicom.uid.UID
) -> None:
    def change(_: int, dataset: pydicom.Dataset) -> None:
        if syntax != ExplicitVRLittleEndian:
            dataset.compress(syntax)
        dataset.BitsStored, dataset.HighBit = stored, high

    write_series(tmp_path / "dicom", SeriesSpec(shape=(16, 12), change=change))
    assert reasons(run(tmp_path)) == [Reason.HIGH_BIT]


@pytest.mark.parametrize(
    ("stored", "high", "syntax"),
    [
        pytest.param(12, 15, JPEGLSLossless, id="JPEG-LS, above"),
        pytest.param(12, 7, JPEGLSLossless, id="JPEG-LS, below"),
        pytest.param(16, 11, ExplicitVRLittleEndian, id="whole words"),
        pytest.param(16, 11, ExplicitVRBigEndian, id="whole words, big endian"),
        pytest.param(16, 11, RLELossless, id="whole words, RLE"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_a_highest_bit_that_cannot_matter_is_not_looked_at(
    tmp_path: Path, stored: int, high: int, syntax: pydicom.uid.UID, dtype: str
) -> None:
    spec = SeriesSpec(
        shape=(16, 12), dtype=dtype, syntax=syntax if syntax == ExplicitVRBigEndian else ExplicitVRLittleEndian
    )
    slices = make_slices(spec)
    for dataset in slices:
        write_pixels(dataset, np.clip(dataset.pixel_array, -2000, 2000 if dtype == "int16" else 4000).astype(dtype))
    twins = [copy.deepcopy(dataset) for dataset in slices]
    for twin in twins:
        twin.BitsStored, twin.HighBit = stored, stored - 1
        if syntax not in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
            twin.compress(syntax, generate_instance_uid=False)
        twin.HighBit = high
    write_slices(tmp_path / "dicom", twins)
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(("whole", "reason"), [(4, [Reason.HIGH_BIT]), (3, [])])
def test_a_highest_bit_that_the_values_contradict_is_refused(
    tmp_path: Path, signed: bool, extended: bool, whole: int, reason: list[Reason]
) -> None:
    """A stale header says that the upper twelve bits are the value; one slice that fills them says that it is right."""

    def change(number: int, dataset: pydicom.Dataset) -> None:
        values = np.random.default_rng(number).integers(-2048 if signed else 0, 2047, (16, 12), endpoint=True)
        words = (values if extended else values & 0xFFF).astype(np.int16)
        words = words if number < whole else words << 4
        write_pixels(dataset, words if signed else words.view(np.uint16))
        dataset.BitsStored, dataset.HighBit = 12, 15

    write_series(tmp_path / "dicom", SeriesSpec(shape=(16, 12), count=4, change=change))
    assert reasons(run(tmp_path)) == reason


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
