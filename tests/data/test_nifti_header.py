"""Headers that state a place twice, once, or not at all."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fedgin.data.nifti_header import NOTHING_TO_SAY, HeaderCheck, check_header
from fedgin.data.volumes import load_nifti, read_image, read_label
from fedgin.errors import DataError
from tests.real_data import real_data
from tests.sites import AFFINE, make_case, make_volume

SHAPE = (10, 12, 5)


def header(sform: NDArray[Any] | None, qform: NDArray[Any] | None, shape: tuple[int, ...] = SHAPE) -> Any:
    """Return the header of a file that was written and read again."""
    image = nibabel.Nifti1Image(np.zeros(shape, np.uint8), None)
    image.header.set_zooms((1.0,) * len(shape))
    image.set_qform(qform, code=0 if qform is None else 1)
    image.set_sform(sform, code=0 if sform is None else 1)
    return nibabel.Nifti1Image.from_bytes(image.to_bytes()).header


@given(
    turn=st.floats(0, 360),
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1),
    spacing=st.tuples(*[st.floats(0.2, 12)] * 3),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
@example(turn=0.09765625, axis=(0.0, 1.0, 1.0), spacing=(1.0, 8.0, 1.0), signs=(-1.0, -1.0, -1.0))
@example(turn=180.0, axis=(1.0, 1.0, 1.0), spacing=(12.0, 12.0, 12.0), signs=(1.0, 1.0, 1.0))
def test_two_equal_statements_are_one(
    turn: float, axis: tuple[float, ...], spacing: tuple[float, ...], signs: tuple[float, ...]
) -> None:
    affine = np.eye(4)
    rotation = Rotation.from_rotvec(np.radians(turn) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.array(signs) * spacing)
    affine[:3, 3] = (-120.0, 80.0, 31.5)
    found = check_header(header(affine, affine), SHAPE)
    assert (found.contradiction, found.unset) == ("", False)
    assert found.apart_mm < 0.1
    assert check_header(header(None, affine), SHAPE) == NOTHING_TO_SAY
    assert check_header(header(None, None), SHAPE) == HeaderCheck(unset=True)


@given(
    tilt=st.floats(0, 1),
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1),
    turned=st.sampled_from([(-1.0, -1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0)]),
)
@example(tilt=0.3, axis=(0.0, 0.0, 1.0), turned=(-1.0, -1.0, 1.0))
def test_a_small_tilt_of_a_large_image_is_no_contradiction(
    tilt: float, axis: tuple[float, ...], turned: tuple[float, ...]
) -> None:
    """DICOM's sides lie half a turn from NIfTI's; there the stored part of a quaternion is 1, but for its rounding."""
    shape = (512, 512, 400)
    affine = np.diag([0.9, 0.9, 1.5, 1.0])
    rotation = Rotation.from_rotvec(np.radians(tilt) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    affine[:3, :3] = rotation @ np.diag(turned) @ affine[:3, :3]
    found = check_header(header(affine, affine), shape)
    assert found.contradiction == ""
    assert found.apart_mm < 0.01


@pytest.mark.parametrize("degrees", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("turned", [(-1.0, -1.0, 1.0), (1.0, 1.0, 1.0)])
def test_another_tilt_than_the_quaternion_says_is_told(degrees: float, turned: tuple[float, ...]) -> None:
    shape, sform, qform = (512, 512, 100), np.eye(4), np.eye(4)
    sform[:3, :3] = np.diag(turned)
    qform[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ sform[:3, :3]
    truth = 2 * np.sin(np.radians(degrees) / 2) * np.hypot(511, 511)
    rounding_mm = 2 * np.sqrt(1.1e-7) * np.hypot(511, 511)
    assert check_header(header(sform, qform), shape).apart_mm == pytest.approx(truth, abs=rounding_mm)


@pytest.mark.parametrize(("longer", "contradiction"), [(2e-6, ""), (1e-3, "its qform is no rotation")])
def test_a_quaternion_that_is_longer_than_one_by_rounding_is_one(longer: float, contradiction: str) -> None:
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])  # half a turn, so that nothing of the quaternion's length is left
    found = header(turned, turned)
    found["quatern_d"] = np.float32(1.0 + longer / 2)
    assert check_header(found, SHAPE).contradiction == contradiction


def write_quaternion(path: Path, quaternion: Any, voxels: NDArray[Any], *, qfac: float = 1.0, kind: Any = None) -> None:
    """Write a file with a qform alone, of these three numbers as they are."""
    kind = kind or nibabel.Nifti1Image
    header = kind.header_class()
    header.set_data_shape(voxels.shape)
    header.set_zooms((0.9, 0.8, 1.5))
    header["pixdim"][0], header["qform_code"] = qfac, 1
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion
    nibabel.save(kind(voxels, None, header), path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1),
    longer=st.floats(-1e-6, 9e-6) | st.floats(-1.0, 0.0),
    qfac=st.sampled_from([-1.0, 1.0]),
)
@example(axis=(0.0, 0.0, 1.0), longer=4e-7, qfac=1.0)
@example(axis=(0.6, 0.8, 0.0), longer=9e-6, qfac=-1.0)
@example(axis=(0.0, 0.0, 1.0), longer=-2e-7, qfac=1.0)
def test_a_quaternion_alone_is_read_as_itk_reads_it(
    tmp_path: Path, axis: tuple[float, ...], longer: float, qfac: float
) -> None:
    path = tmp_path / "a.nii"
    quaternion = np.float32(np.sqrt(1.0 + longer) * np.array(axis) / np.linalg.norm(axis))
    write_quaternion(path, quaternion, np.zeros((512, 512, 3), np.uint8), qfac=qfac)
    found = load_nifti(path, "the image")
    assert found.header == NOTHING_TO_SAY
    itk = SimpleITK.ReadImage(path)
    directions = np.array(itk.GetDirection()).reshape(3, 3) * itk.GetSpacing()
    far = np.array([511, 511, 2])
    there = directions @ far + itk.GetOrigin()
    np.testing.assert_allclose(found.affine[:3] @ [*far, 1], there * [-1, -1, 1], atol=0.01)
    # The second version of the format, which ITK does not read, has the same numbers in double precision.
    write_quaternion(path, quaternion, np.zeros((1, 1, 1), np.uint8), qfac=qfac, kind=nibabel.Nifti2Image)
    np.testing.assert_allclose(load_nifti(path, "the image").affine, found.affine, atol=1e-6)


@pytest.mark.parametrize("role", ["image", "label"])
@pytest.mark.parametrize(
    ("quaternion", "said"),
    [
        ((0.0, 0.0, 1.0 + 2e-6), ""),
        ((0.0, 0.0, 1.01), "contradicts itself: its qform is no rotation"),
        ((0.0, 0.0, np.nan), "has no valid geometry in its header"),
        ((0.0, 0.0, np.inf), "has no valid geometry in its header"),
    ],
)
def test_training_takes_a_rounded_quaternion_and_names_one_that_is_no_rotation(
    tmp_path: Path, role: str, quaternion: tuple[float, ...], said: str
) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    path, voxels = (case.image, image) if role == "image" else (case.label, label)
    write_quaternion(path, quaternion, voxels)
    read = read_image if role == "image" else read_label
    if said:
        with pytest.raises(DataError, match=said):
            read(case)
    else:
        np.testing.assert_allclose(read(case).affine[:3, :3], np.diag([-0.9, -0.8, 1.5]), atol=1e-6)


def test_a_unit_sform_beside_true_pixel_sizes_is_a_contradiction() -> None:
    """As in a public cardiac set: every program that reads the sform sees voxels of 1 mm."""
    plain = header(np.eye(4), None)
    plain.set_zooms((1.25, 1.25, 10.0))
    assert check_header(plain, SHAPE).contradiction == (
        "its sform has voxels of 1 x 1 x 1 mm, its pixdim says 1.25 x 1.25 x 10 mm"
    )
    true = np.diag([1.25, 1.25, 10.0, 1.0])
    assert "its sform has voxels of 1 x 1 x 1 mm" in check_header(header(np.eye(4), true), SHAPE).contradiction


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_another_side_is_a_contradiction(axis: int) -> None:
    flipped = AFFINE.copy()
    flipped[axis, axis] *= -1
    assert "qform" in check_header(header(AFFINE, flipped), SHAPE).contradiction


def test_another_order_of_axes_is_a_contradiction() -> None:
    turned = np.diag([8.0, 8.0, 5.0, 1.0])[[1, 0, 2, 3]]
    assert "RAS" in check_header(header(np.diag([8.0, 8.0, 5.0, 1.0]), turned), SHAPE).contradiction


def test_a_small_tilt_and_a_shift_are_told_by_their_distance() -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += (3.0, 4.0, 0.0)
    found = check_header(header(AFFINE, moved), SHAPE)
    assert found.contradiction == ""
    assert found.apart_mm == pytest.approx(5.0, abs=1e-4)


def test_the_thickness_of_a_single_slice_is_not_compared() -> None:
    slice_header = header(np.diag([8.0, 8.0, 1.0, 1.0]), None, (10, 12, 1))
    slice_header.set_zooms((8.0, 8.0, 5.0))
    assert check_header(slice_header, (10, 12, 1)) == NOTHING_TO_SAY


@pytest.mark.parametrize(("name", "count"), [("abdomen_ct", 4), ("abdomen_mr", 20), ("small", 2)])
def test_real_headers_state_one_place(name: str, count: int) -> None:
    files = sorted(real_data(name).glob("*.nii.gz"))[:count]
    assert len(files) == count
    for path in files:
        image = nibabel.load(path)
        found = check_header(image.header, image.shape)
        assert (found.contradiction, found.unset) == ("", False)
        assert found.apart_mm < 0.1


@pytest.mark.parametrize("role", ["image", "label"])
def test_training_refuses_a_contradiction_in_either_file(tmp_path: Path, role: str) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    path = case.image if role == "image" else case.label
    stored = nibabel.load(path)
    stored.set_sform(np.eye(4))
    nibabel.save(stored, path)
    with pytest.raises(DataError, match=f"the {role} has a header that contradicts itself") as caught:
        (read_image if role == "image" else read_label)(case)
    assert str(tmp_path) not in str(caught.value)
