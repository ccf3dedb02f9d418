"""The way back: from probabilities on the canonical grid to labels on the image's own."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.data import native_labels
from fedgin.data.native_labels import join_native_labels, to_native_labels
from fedgin.data.preprocessing import preprocess
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.resampling import VoxelGrid, resample
from fedgin.data.volumes import Volume
from tests.data.test_preprocessing import ORIENTATIONS, canonical, one_hot, reoriented
from tests.sites import make_volume


@settings(max_examples=15)
@given(axes=st.sampled_from(ORIENTATIONS), seed=st.integers(0, 50))
@pytest.mark.parametrize(
    "fine",
    [
        Preprocessing(spacing_mm=4.0, size=(96, 96)),
        Preprocessing(spacing_mm=(4.0, 3.0, 2.0), size=(32, 32, 16)),
    ],
    ids=["slices", "volumes"],
)
def test_a_prediction_returns_to_the_native_grid(fine: Preprocessing, axes: str, seed: int) -> None:
    voxels, labels = make_volume("CT", seed)
    image, label = (reoriented(Volume(part, np.diag([8.0, 8.0, 5.0, 1.0])), axes) for part in (voxels, labels))
    prepared = preprocess(image, np.asarray(label.voxels, dtype=np.uint8), True, fine)
    returned = to_native_labels(one_hot(prepared.label), prepared.affine, prepared.native)
    assert returned.shape == label.voxels.shape
    for organ in (1, 2):
        ours, theirs = returned == organ, label.voxels == organ
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.95


@settings(max_examples=15)
@given(axes=st.sampled_from(ORIENTATIONS), seed=st.integers(0, 50))
def test_any_flip_or_permutation_gives_the_same_dice(axes: str, seed: int) -> None:
    """The same imperfect prediction, returned to either orientation, must score the same."""
    dice = []
    for codes in ("RAS", axes):
        image, label = (
            reoriented(Volume(part, np.diag([8.0, 8.0, 5.0, 1.0])), codes) for part in make_volume("CT", seed)
        )
        prepared = canonical(image, label, "CT")
        predicted = one_hot(prepared.label.roll(1, dims=1))
        returned = to_native_labels(predicted, prepared.affine, prepared.native)
        overlap = ((returned == 1) & (label.voxels == 1)).sum()
        dice.append(2 * overlap / ((returned == 1).sum() + (label.voxels == 1).sum()))
    assert 0.3 < dice[0] < 0.95
    assert abs(dice[0] - dice[1]) < 1e-3


@settings(max_examples=20, deadline=None)
@given(axes=st.sampled_from(ORIENTATIONS), seed=st.integers(0, 10**6), slab=st.sampled_from([1, 700, 2**20]))
def test_boxes_and_slabs_give_what_the_whole_volume_gives(axes: str, seed: int, slab: int) -> None:
    """Against interpolating every class everywhere; the image reaches beyond the canonical field of view."""
    affine = np.diag([-2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = (1.3, -7.7, 2.0)
    image = reoriented(Volume(np.zeros((21, 14, 5), dtype=np.uint8), affine), axes)
    native = VoxelGrid.of(image)
    source = VoxelGrid((12, 10, 5), np.diag([2.8, 2.8, 5.0, 1.0]))
    source.affine[:3, 3] = (-35.0, -4.0, 2.0)
    random = torch.Generator().manual_seed(seed)
    logits = 3.0 * torch.randn((4, 5, 12, 10), generator=random)
    logits[0] += 2.0
    soft = logits.softmax(0)
    organs = resample(soft[1:].permute(0, 2, 3, 1), source, native, mode="bilinear", outside="zeros")
    expected = torch.cat([1.0 - organs.sum(0, keepdim=True), organs]).argmax(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_labels, "SLAB_VOXELS", slab)
        found = to_native_labels(soft, source.affine, native)
    np.testing.assert_array_equal(found, expected.numpy())
    assert found.any()


@settings(max_examples=25)
@given(
    axes=st.sampled_from(ORIENTATIONS),
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 8), max_size=4, unique=True),
    spacing=st.floats(0.9, 9.0),
    shift=st.floats(-9.0, 9.0),
)
def test_pieces_give_what_the_whole_volume_gives(
    axes: str, seed: int, cuts: list[int], spacing: float, shift: float
) -> None:
    """Wherever it is cut, and however the image's own slices lie between the canonical ones and beyond them."""
    image = reoriented(Volume(np.zeros((9, 8, 11), dtype=np.uint8), np.diag([-2.0, 3.0, spacing, 1.0])), axes)
    native = VoxelGrid.of(image)
    affine = np.diag([2.8, 2.8, 4.0, 1.0])
    affine[:3, 3] = (-20.0, 1.0, shift)
    soft = (3.0 * torch.randn((3, 9, 7, 8), generator=torch.Generator().manual_seed(seed))).softmax(0)
    ends = [0, *sorted(cuts), 9]
    pieces = (soft[:, start:end] for start, end in itertools.pairwise(ends))
    found = join_native_labels(pieces, 9, affine, native)
    np.testing.assert_array_equal(found, to_native_labels(soft, affine, native))
    assert found.flags.f_contiguous


@pytest.mark.parametrize("count", [97, 100, 103, 104])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_an_organ_that_the_image_s_ends_cut_reaches_them(count: int, share: float) -> None:
    """The canonical slices are 6 mm thick, so that the image's first and last lie beyond their centres."""
    settings = Preprocessing(spacing_mm=(4.0, 4.0, 6.0), size=(32, 32, 16))
    voxels = np.zeros((30, 30, count), dtype=np.float32)
    prepared = preprocess(
        Volume(voxels, np.diag([4.0, 4.0, 1.0, 1.0])), np.ones(voxels.shape, np.uint8), True, settings
    )
    soft = torch.stack([torch.full(prepared.label.shape, 1.0 - share), torch.full(prepared.label.shape, share)])
    for found in (
        to_native_labels(soft, prepared.affine, prepared.native),
        join_native_labels(torch.split(soft, 3, dim=1), soft.shape[1], prepared.affine, prepared.native),
    ):
        assert found[15, 15].all()


def test_no_organ_gives_an_empty_label() -> None:
    native = VoxelGrid((5, 6, 7), np.eye(4))
    background = torch.zeros(3, 4, 16, 16)
    background[0] = 1.0
    assert not to_native_labels(background, np.eye(4), native).any()
