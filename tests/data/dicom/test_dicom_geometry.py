import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.data.dicom.series import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    SeriesSpec,
    make_rules,
    make_slices,
    run,
    the_image,
    world_error,
    write_series,
    write_slices,
)

OBLIQUE = tuple(Rotation.from_euler("xyz", [12.0, -23.0, 31.0], degrees=True).as_matrix()[:, :2].T.ravel())


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        pytest.param(SeriesSpec(), (5, 7, 6), id="axial"),
        pytest.param(SeriesSpec(step=-2.5), (5, 7, 6), id="reversed"),
        pytest.param(SeriesSpec(orientation=CORONAL), (5, 6, 7), id="coronal"),
        pytest.param(SeriesSpec(orientation=SAGITTAL), (6, 5, 7), id="sagittal"),
        pytest.param(SeriesSpec(orientation=(-1, 0, 0, 0, -1, 0)), (5, 7, 6), id="prone"),
        pytest.param(SeriesSpec(orientation=OBLIQUE), (5, 7, 6), id="oblique"),
        pytest.param(SeriesSpec(orientation=OBLIQUE, step=-1.3), (5, 7, 6), id="oblique reversed"),
    ],
)
def test_every_voxel_is_where_the_standard_puts_it(tmp_path: Path, spec: SeriesSpec, shape: tuple[int, ...]) -> None:
    slices = write_series(tmp_path / "dicom", spec)
    assert run(tmp_path).converted == 1
    image = the_image(tmp_path)
    assert image.shape == shape
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    assert world_error(image, slices) < 1e-3


def test_file_order_and_instance_numbers_do_not_matter(tmp_path: Path) -> None:
    slices = make_slices(SeriesSpec(count=9))
    rng = np.random.default_rng(3)
    for dataset, number in zip(slices, rng.permutation(9), strict=True):
        dataset.InstanceNumber = int(number)
    write_slices(tmp_path / "dicom", [slices[index] for index in rng.permutation(9)])
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


@pytest.mark.parametrize("thickness", [1.0, 5.0])
def test_thickness_is_not_spacing(tmp_path: Path, thickness: float) -> None:
    def thick(_: int, dataset: pydicom.Dataset) -> None:
        dataset.SliceThickness, dataset.SpacingBetweenSlices = thickness, thickness

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=thick, step=2.0))
    run(tmp_path)
    assert the_image(tmp_path).header.get_zooms() == pytest.approx((0.7, 0.9, 2.0))
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_a_tilt_tag_on_a_straight_stack_is_no_tilt(tmp_path: Path) -> None:
    def tilt(_: int, dataset: pydicom.Dataset) -> None:
        dataset.GantryDetectorTilt = 15.0

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=tilt))
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_positions_rounded_by_the_scanner_are_accepted(tmp_path: Path) -> None:
    def rounded(_: int, dataset: pydicom.Dataset) -> None:
        dataset.ImagePositionPatient = [round(float(value), 2) for value in dataset.ImagePositionPatient]

    slices = write_series(tmp_path / "dicom", SeriesSpec(change=rounded, orientation=OBLIQUE))
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 0.02


def test_mr_is_converted_by_mr_rules(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "dicom", SeriesSpec(modality="MR", orientation=OBLIQUE))
    assert run(tmp_path, make_rules(modality="MR")).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


@settings(max_examples=25, derandomize=True)
@given(
    angles=st.tuples(*[st.floats(-180.0, 180.0)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 4.0)] * 2),
    step=st.floats(0.5, 8.0),
    count=st.integers(3, 6),
)
def test_any_orientation_round_trips(
    angles: tuple[float, float, float], spacing: tuple[float, float], step: float, count: int
) -> None:
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, :2].T.ravel()
    spacing = (round(spacing[0], 4), round(spacing[1], 4))
    spec = SeriesSpec(orientation=tuple(turned), spacing=spacing, step=step, count=count, shape=(4, 3))
    with tempfile.TemporaryDirectory() as folder:
        slices = write_series(Path(folder) / "dicom", spec)
        assert run(Path(folder)).converted == 1
        assert world_error(the_image(Path(folder)), slices) < 1e-3


def test_the_header_says_nothing_but_geometry(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", SeriesSpec(orientation=AXIAL))
    run(tmp_path)
    header = the_image(tmp_path).header
    texts = [bytes(header[key].tobytes()).strip(b"\0") for key in ("descrip", "aux_file", "intent_name", "db_name")]
    assert texts == [b"", b"", b"", b""]
    assert (int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()[0]) == (1, 1, "mm")
    assert not header.extensions
