"""However a NIfTI file orders and directs its axes, validation says and measures the same."""

import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedgin.data.label_values import count_ids
from fedgin.data.site import load_site
from fedgin.data.validation import Validation, validate_site
from fedgin.data.validation.content import hash_voxels
from fedgin.data.validation.fingerprint import build_fingerprint
from tests.data.validation.small_site import AFFINE, SmallSite

ORDERS = st.permutations(range(3))
SIGNS = st.tuples(*[st.sampled_from([-1, 1])] * 3)


def turn(voxels: NDArray[Any], order: list[int], signs: tuple[int, int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Store the same anatomy with other axes; the world position of each voxel stays."""
    orientation = np.array([[order.index(axis), signs[axis]] for axis in range(3)], dtype=float)
    turned = nibabel.orientations.apply_orientation(voxels, orientation)
    return turned, AFFINE @ nibabel.orientations.inv_ornt_aff(orientation, voxels.shape)


def validate_turned(folder: Path, order: list[int], signs: tuple[int, int, int]) -> Validation:
    site = SmallSite(folder)
    site.change("label", lambda label: np.where(label == 4, 3, np.where(label == 3, 4, label)).astype(np.uint8))
    for split, count in (("training", 3), ("validation", 2)):
        for number in range(1, count + 1):
            for role in ("image", "label"):
                site.write(split, number, role, *turn(site.read(split, number, role), order, signs))
    return validate_site(load_site(site.save()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Validation:
    return validate_turned(tmp_path_factory.mktemp("plain"), [0, 1, 2], (1, 1, 1))


@settings(max_examples=12)
@given(order=ORDERS, signs=SIGNS)
def test_any_flip_and_permutation_gives_the_same_result(
    plain: Validation, order: list[int], signs: tuple[int, int, int]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        turned = validate_turned(Path(scratch), order, signs)
    assert turned.findings == plain.findings
    for one, other in zip(plain.facts, turned.facts, strict=True):
        assert one.image is not None
        assert other.image is not None
        assert one.label is not None
        assert other.label is not None
        assert other.label.organ_ml == pytest.approx(one.label.organ_ml)
        assert other.label.organ_right_mm == pytest.approx(one.label.organ_right_mm)
        assert other.image.content == one.image.content
        assert other.image.percentiles == one.image.percentiles
        assert other.image.spacing_mm == pytest.approx(one.image.spacing_mm)
        assert other.thumbnail == one.thumbnail
    assert _without_axes(turned) == _without_axes(plain)


def _without_axes(validation: Validation) -> dict[str, Any]:
    found = build_fingerprint(validation, bytes(32))
    return {key: value for key, value in found.items() if key not in ("orientations", "dataset")}


@settings(max_examples=50)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(1, 3))
def test_ids_are_counted_as_by_numpy(values: list[int], axes: int) -> None:
    ids = np.array(values, dtype=np.uint8).reshape((-1,) + (1,) * axes)
    np.testing.assert_array_equal(count_ids(ids), np.bincount(values, minlength=256))
    np.testing.assert_array_equal(count_ids(ids[::-2]), np.bincount(values[::-2], minlength=256))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_the_hash_of_an_image_does_not_depend_on_its_storage(dtype: type) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (5, 4, 3))
    assert hash_voxels(np.asfortranarray(voxels.astype(dtype))) == hash_voxels(voxels)
    changed = voxels.copy()
    changed[2, 2, 2] += 1
    assert hash_voxels(changed) != hash_voxels(voxels)
    assert hash_voxels(voxels.reshape(3, 4, 5)) != hash_voxels(voxels)


def test_large_and_fractional_values_are_told_apart() -> None:
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    hashes = {hash_voxels(array) for array in (voxels, voxels + 0.5, voxels * 10_000)}
    assert len(hashes) == 3
