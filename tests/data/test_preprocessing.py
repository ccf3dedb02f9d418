import itertools

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedgin.data.limits import LimitError
from fedgin.data.native_labels import to_native_labels
from fedgin.data.preprocessing import Canonical, canonical_grid, preprocess
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.resampling import VoxelGrid
from fedgin.data.volumes import Volume
from tests.sites import make_volume

SETTINGS = Preprocessing(spacing_mm=10.0, size=(48, 32))
VOLUMES = Preprocessing(spacing_mm=(10.0, 12.0, 4.0), size=(16, 32, 16))
OBLIQUE = np.array([[-7.7, 1.4, 0.0, 80.0], [1.4, 7.7, -0.4, -110.0], [0.1, 0.3, 5.0, 20.0], [0.0, 0.0, 0.0, 1.0]])


def reoriented(volume: Volume, axes: str) -> Volume:
    image = nibabel.Nifti1Image(volume.voxels, volume.affine)
    wanted = nibabel.orientations.axcodes2ornt(axes)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(volume.affine), wanted)
    )
    return Volume(np.asarray(turned.dataobj), turned.affine)


def canonical(image: Volume, label: Volume, modality: str, asked: Preprocessing = SETTINGS) -> Canonical:
    return preprocess(image, np.asarray(label.voxels, dtype=np.uint8), modality == "CT", asked)


def one_hot(labels: torch.Tensor, classes: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels.long(), classes).permute(3, 0, 1, 2).float()


ORIENTATIONS = [
    "".join(codes) for names in itertools.permutations(["RL", "AP", "SI"]) for codes in itertools.product(*names)
]


@settings(max_examples=25)
@given(axes=st.sampled_from(ORIENTATIONS), modality=st.sampled_from(["CT", "MR"]), seed=st.integers(0, 50))
@pytest.mark.parametrize("asked", [SETTINGS, VOLUMES], ids=["slices", "volumes"])
def test_any_flip_or_permutation_gives_the_same_canonical_volume(
    asked: Preprocessing, axes: str, modality: str, seed: int
) -> None:
    voxels, labels = make_volume(modality, seed)
    image, label = Volume(voxels, OBLIQUE), Volume(labels, OBLIQUE)
    straight = canonical(image, label, modality, asked)
    turned = canonical(reoriented(image, axes), reoriented(label, axes), modality, asked)
    np.testing.assert_allclose(turned.affine, straight.affine, atol=1e-6)
    np.testing.assert_allclose(turned.image, straight.image, atol=2e-3)
    assert (turned.label != straight.label).float().mean() < 1e-3


def test_the_box_around_organs_gives_what_the_whole_volume_gives() -> None:
    voxels, labels = make_volume("MR", 3)
    prepared = canonical(Volume(voxels, OBLIQUE), Volume(labels, OBLIQUE), "MR")
    torch.manual_seed(0)
    soft = (4 * one_hot(prepared.label) + torch.rand(3, *prepared.label.shape)).softmax(0)
    boxed = to_native_labels(soft, prepared.affine, prepared.native)
    # A spurious organ in each corner stretches the box over everything.
    stretched = soft.clone()
    for corner in itertools.product((0, -1), repeat=3):
        stretched[:, corner[0], corner[1], corner[2]] = torch.tensor([0.0, 0.0, 1.0])
    whole = to_native_labels(stretched, prepared.affine, prepared.native)
    inside = whole[2:-2, 2:-2, 1:-1], boxed[2:-2, 2:-2, 1:-1]
    assert (inside[0] != inside[1]).mean() < 1e-3


def test_no_organ_gives_an_empty_label() -> None:
    native = VoxelGrid((5, 6, 7), np.eye(4))
    background = torch.zeros(3, 4, 16, 16)
    background[0] = 1.0
    assert not to_native_labels(background, np.eye(4), native).any()


def test_positions_are_kept_to_a_thousandth_of_a_millimetre() -> None:
    """An image that is a linear function of position must be the same function afterwards."""
    shape = (40, 36, 6)
    slope = np.array([0.3, -0.2, 0.1])
    indices = np.indices(shape).reshape(3, -1)
    world = OBLIQUE[:3, :3] @ indices + OBLIQUE[:3, 3:]
    voxels = (slope @ world).reshape(shape).astype(np.float32)
    window = (float(voxels.min()), float(voxels.max()))
    wide = Preprocessing(spacing_mm=9.0, size=(16, 16), ct_window_hu=window, normalisation="minmax")
    prepared = preprocess(Volume(voxels, OBLIQUE), np.zeros(shape, np.uint8), True, wide)
    found = prepared.image.permute(1, 2, 0).numpy() * (window[1] - window[0]) + window[0]
    grid = np.indices(found.shape).reshape(3, -1)
    expected = slope @ (prepared.affine[:3, :3] @ grid + prepared.affine[:3, 3:])
    inner = (slice(3, -3), slice(3, -3), slice(None))
    np.testing.assert_allclose(
        found[inner], expected.reshape(found.shape)[inner], atol=1e-3 * float(np.linalg.norm(slope))
    )


def test_the_canonical_grid_is_ras_with_the_asked_spacing() -> None:
    body = np.ones((40, 36, 6), dtype=bool)
    grid = canonical_grid(VoxelGrid(body.shape, np.diag([-8.0, 8.0, 5.0, 1.0])), body, SETTINGS)
    assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), [10.0, 10.0, 5.0])
    assert grid.shape == (48, 32, 6)


def test_the_grid_is_centred_on_the_body() -> None:
    body = np.zeros((40, 36, 6), dtype=bool)
    body[10:21, 4:15] = True
    affine: NDArray[np.float64] = np.diag([8.0, 8.0, 5.0, 1.0])
    grid = canonical_grid(VoxelGrid(body.shape, affine), body, SETTINGS)
    centre = grid.affine @ np.array([*((np.array(grid.shape) - 1) / 2), 1.0])
    np.testing.assert_allclose(centre[:2], [15 * 8.0, 9 * 8.0])


def test_a_volume_holds_the_body_in_the_asked_voxels_whatever_the_patch() -> None:
    body = np.zeros((40, 36, 6), dtype=bool)
    body[10:20, 4:16, 2:4] = True
    grid = canonical_grid(VoxelGrid(body.shape, np.diag([-8.0, 8.0, 5.0, 1.0])), body, VOLUMES)
    assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), [10.0, 12.0, 4.0])
    assert grid.shape == (8, 8, 8), "80 x 96 mm of the body, and 30 mm of all slices"
    centre = grid.affine @ np.array([3.5, 3.5, 3.5, 1.0])
    np.testing.assert_allclose(centre[:3], [-14.5 * 8.0, 9.5 * 8.0, 2.5 * 5.0])


def test_a_volume_that_is_too_large_is_refused_before_it_is_computed() -> None:
    body = np.ones((40, 36, 6), dtype=bool)
    tiny = Preprocessing(spacing_mm=(0.2, 0.2, 0.2), size=(16, 16, 16))
    with pytest.raises(LimitError, match=r"8,640,000,000 of the asked voxels.*Fix: .*spacing_mm"):
        canonical_grid(VoxelGrid(body.shape, np.diag([40.0, 40.0, 5.0, 1.0])), body, tiny)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_zscores_are_taken_over_the_body(modality: str) -> None:
    voxels, labels = make_volume(modality, 0)
    affine = np.diag([8.0, 8.0, 5.0, 1.0])
    prepared = canonical(Volume(voxels, affine), Volume(labels, affine), modality)
    inside = prepared.image[prepared.body]
    assert abs(float(inside.mean())) < 0.05
    assert float(inside.std()) == pytest.approx(1.0, abs=0.05)
    assert float(prepared.image.abs().max()) <= 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": [100, 128]},
        {"spacing_mm": 0},
        {"spacing_mm": [2.0, 2.0, 0.0], "size": [32, 32, 16]},
        {"spacing_mm": [2.0, 2.0], "size": [32, 32]},
        {"spacing_mm": [2.0, 2.0, 5.0]},
        {"size": [32, 32, 16]},
        {"spacing_mm": [2.0, 2.0, 5.0], "size": [32, 32, 20]},
        {"ct_window_hu": [5, 5]},
        {"mr_percentiles": [0, 101]},
        {"sise": [64, 64]},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Preprocessing.model_validate(wrong)
