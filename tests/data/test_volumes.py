import contextlib
import gzip
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fedgin.data.volumes import map_organs, read_image, read_label, read_pair
from fedgin.errors import DataError
from tests.sites import AFFINE, SHAPE, make_case, make_volume, write_case


def test_a_good_pair_is_read_unchanged(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    found_image, found_label = read_pair(make_case(tmp_path, image, label))
    np.testing.assert_array_equal(found_image.voxels, image)
    np.testing.assert_array_equal(found_label.voxels, label)
    assert found_image.voxel_ml == pytest.approx(8 * 8 * 5 / 1000)


def test_nan_voxels_are_counted(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    image[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="1 voxels of the image are NaN"):
        read_image(make_case(tmp_path, image, label))


def test_a_constant_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the same value"):
        read_image(make_case(tmp_path, np.zeros(SHAPE, np.float32), make_volume("CT", 0)[1]))


@pytest.mark.parametrize(("made_as", "declared"), [("CT", "MR"), ("MR", "CT")])
def test_the_wrong_modality_is_noticed(tmp_path: Path, made_as: str, declared: str) -> None:
    with pytest.raises(DataError, match=f"declared as {declared}"):
        read_image(make_case(tmp_path, *make_volume(made_as, 0), modality=declared))


def test_ids_outside_the_map_are_named(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    label[0, 0, 0] = 9
    with pytest.raises(DataError, match="not in the site's label map: 9"):
        read_label(make_case(tmp_path, image, label))


def test_fractional_ids_are_refused(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    nibabel.save(nibabel.Nifti1Image(label.astype(np.float32) * 0.5, AFFINE), case.label)
    with pytest.raises(DataError, match=r"no whole numbers .* such as 0\.5"):
        read_label(case)


def test_different_shapes_are_refused(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    with pytest.raises(DataError, match="image is 40 x 36 x 6 voxels, label is 40 x 36 x 5"):
        read_pair(make_case(tmp_path, image, label[:, :, :5]))


def test_a_shifted_label_is_refused(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    shifted = AFFINE.copy()
    shifted[0, 3] += 3.0
    nibabel.save(nibabel.Nifti1Image(label, shifted), case.label)
    with pytest.raises(DataError, match=r"up to 3\.00 mm apart"):
        read_pair(case)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x1f\x8b damaged"])
def test_an_unreadable_file_is_named_without_its_path(tmp_path: Path, content: bytes) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    case.image.write_bytes(content)
    with pytest.raises(DataError, match="training case 1: the image file is not readable") as caught:
        read_image(case)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("ending", [".hdr", ".img", ".img.gz", ".mgz"])
def test_a_format_of_two_files_or_of_another_kind_is_refused(tmp_path: Path, ending: str) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    pair = nibabel.Nifti1Pair(make_volume("CT", 0)[0], AFFINE)
    nibabel.save(nibabel.MGHImage(pair.dataobj, AFFINE) if ending == ".mgz" else pair, tmp_path / f"x{ending}")
    with pytest.raises(DataError, match=r"image file ends in none of \.nii, \.nii\.gz, \.png"):
        read_image(replace(case, image=tmp_path / f"x{ending}"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    case.image.write_bytes(case.image.read_bytes()[:2000])
    with pytest.raises(DataError, match="not readable"):
        read_image(case)


def test_a_fourth_axis_is_refused(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    write_case(tmp_path, "x", image, label)
    case = make_case(tmp_path, np.stack([image, image], axis=-1), label)
    with pytest.raises(DataError, match="two or three axes are needed"):
        read_image(case)


@pytest.mark.parametrize(("unit", "factor", "said"), [("meter", 1e-3, "metres"), ("micron", 1e3, "micrometres")])
@pytest.mark.parametrize("role", ["image", "label"])
def test_a_header_that_counts_in_another_unit_is_refused(
    tmp_path: Path, role: str, unit: str, factor: float, said: str
) -> None:
    """SimpleITK converts to millimetres, nibabel hands out the numbers: each would see another patient."""
    case = make_case(tmp_path, *make_volume("CT", 0))
    path = case.image if role == "image" else case.label
    stored = nibabel.load(path)
    other = nibabel.Nifti1Image(np.asarray(stored.dataobj), np.diag([factor, factor, factor, 1.0]) @ stored.affine)
    other.header.set_xyzt_units(unit)
    nibabel.save(other, path)
    np.testing.assert_allclose(SimpleITK.ReadImage(str(path)).GetSpacing(), stored.header.get_zooms(), rtol=1e-5)
    with pytest.raises(DataError, match=f"the {role} counts in {said} by its header"):
        (read_image if role == "image" else read_label)(case)


@pytest.mark.parametrize("axes", [1, 2])
def test_trailing_axes_of_one_are_dropped(tmp_path: Path, axes: int) -> None:
    image, label = make_volume("CT", 0)
    more = (...,) + (None,) * axes
    found_image, found_label = read_pair(make_case(tmp_path, image[more], label[more]))
    np.testing.assert_array_equal(found_image.voxels, image)
    np.testing.assert_array_equal(found_label.voxels, label)


@given(order=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3), tilt=st.floats(-30, 30))
def test_a_label_in_another_order_of_axes_is_turned_to_its_image(
    order: list[int], signs: tuple[int, int, int], tilt: float
) -> None:
    image, label = make_volume("CT", 0)
    oblique = AFFINE.copy()
    oblique[:3, :3] = Rotation.from_euler("x", tilt, degrees=True).as_matrix() @ AFFINE[:3, :3]
    turns = np.array([[order.index(axis), signs[axis]] for axis in range(3)], dtype=float)
    with tempfile.TemporaryDirectory() as scratch:
        case = make_case(Path(scratch), image, label)
        nibabel.save(nibabel.Nifti1Image(image, oblique), case.image)
        affine = oblique @ nibabel.orientations.inv_ornt_aff(turns, SHAPE)
        nibabel.save(nibabel.Nifti1Image(nibabel.orientations.apply_orientation(label, turns), affine), case.label)
        found_image, found_label = read_pair(case)
    np.testing.assert_array_equal(found_label.voxels, label)
    np.testing.assert_allclose(found_label.affine, found_image.affine, atol=1e-4)


def test_organs_are_numbered_as_the_experiment_names_them(tmp_path: Path) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    mapped = map_organs(case, read_label(case), ["pancreas", "spleen"])
    np.testing.assert_array_equal(mapped == 2, label == 2)
    assert set(np.unique(mapped)) == {0, 2}


def test_a_header_that_promises_more_voxels_than_any_scan_has_is_refused_before_they_are_read(tmp_path: Path) -> None:
    """Compressed zeros cost a file nothing: what is read is what is allocated."""
    case = make_case(tmp_path, *make_volume("CT", 0))
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((1024, 1024, 1025))
    header["vox_offset"] = 352
    case.image.write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with pytest.raises(DataError, match="the image says it has 1024 x 1024 x 1025 voxels, more than 1,073,741,824"):
        read_pair(case)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_file_that_a_disk_changed_is_refused_or_reads_as_before(place: float, bit: int) -> None:
    """Compressed data end with a checksum; a reader of voxels alone stops in front of it."""
    image, label = make_volume("CT", 0)
    with tempfile.TemporaryDirectory() as scratch:
        case = make_case(Path(scratch), image, label)
        content = bytearray(case.label.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        case.label.write_bytes(content)
        found = None
        with contextlib.suppress(DataError):
            found = read_label(case)
    if found is not None:  # a change of what says nothing of the voxels, such as the time in front of them
        np.testing.assert_array_equal(found.voxels, label)
        np.testing.assert_array_equal(found.affine, AFFINE)
