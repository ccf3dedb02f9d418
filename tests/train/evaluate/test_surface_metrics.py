import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.train.evaluate.surface_metrics import compare_surfaces


def box(shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_equal_masks_lie_on_each_other() -> None:
    mask = box((12, 12, 12), (3, 3, 3), (8, 9, 7))
    score = compare_surfaces(mask, mask.copy(), (1.0, 2.0, 3.0))
    assert score.hd95_mm == 0.0
    assert score.surface_dice == 1.0


@pytest.mark.parametrize(("axis", "spacing"), [(0, 1.5), (1, 2.5), (2, 4.0)])
def test_a_thin_plate_moved_by_two_voxels_is_two_voxel_sizes_away(axis: int, spacing: float) -> None:
    sizes = [20, 20, 20]
    low, high = [2] * 3, [18] * 3
    low[axis], high[axis] = 6, 7
    first = box(tuple(sizes), tuple(low), tuple(high))
    second = np.roll(first, 2, axis)
    voxel = [9.0] * 3
    voxel[axis] = spacing
    assert compare_surfaces(second, first, voxel).hd95_mm == pytest.approx(2 * spacing)


def test_surface_dice_counts_what_lies_within_two_millimetres() -> None:
    first = box((20, 20, 20), (6, 2, 2), (7, 18, 18))
    second = np.roll(first, 2, 0)
    assert compare_surfaces(second, first, (1.0, 1.0, 1.0)).surface_dice == 1.0
    assert compare_surfaces(second, first, (1.1, 1.0, 1.0)).surface_dice == 0.0


def test_a_slice_is_compared_by_its_outline() -> None:
    first = box((20, 20, 1), (4, 4, 0), (14, 14, 1))
    second = box((20, 20, 1), (5, 4, 0), (15, 14, 1))
    score = compare_surfaces(second, first, (3.0, 3.0, 8.0))
    # In 3D every pixel of a single slice would be surface and the inner ones would hide the shift.
    assert score.hd95_mm == pytest.approx(3.0)
    assert 0.0 < score.surface_dice < 1.0


def test_nothing_predicted_is_as_far_as_the_image_is_large() -> None:
    reference = box((10, 20, 5), (1, 1, 1), (3, 3, 3))
    score = compare_surfaces(np.zeros_like(reference), reference, (1.0, 2.0, 4.0))
    assert score.hd95_mm == pytest.approx(math.sqrt(10**2 + 40**2 + 20**2))
    assert score.surface_dice == 0.0


@pytest.mark.parametrize("shape", [(14, 11, 9), (20, 17, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_monai(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = (0.8, 1.5, 3.0)
    masks = [ndimage.binary_opening(rng.random(shape) < 0.7, np.ones((2, 2, 1))) for _ in range(2)]
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    pair = [torch.from_numpy(mask.reshape([shape[axis] for axis in axes]))[None, None] for mask in masks]
    sizes = [spacing[axis] for axis in axes]
    score = compare_surfaces(masks[0], masks[1], spacing)
    hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95.0, spacing=sizes)
    dice = compute_surface_dice(*pair, class_thresholds=[2.0], include_background=True, spacing=sizes)
    # MONAI computes in single precision.
    assert score.hd95_mm == pytest.approx(float(hd95), rel=1e-4)
    assert score.surface_dice == pytest.approx(float(dice), rel=1e-4)


def test_an_absent_organ_has_no_surface_to_compare() -> None:
    empty = np.zeros((4, 4, 4), dtype=bool)
    score = compare_surfaces(~empty, empty, (1.0, 1.0, 1.0))
    assert math.isnan(score.hd95_mm)
    assert math.isnan(score.surface_dice)
