import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgin.train.surfaces import compare_surfaces


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


def test_an_absent_organ_has_no_surface_to_compare() -> None:
    empty = np.zeros((4, 4, 4), dtype=bool)
    score = compare_surfaces(~empty, empty, (1.0, 1.0, 1.0))
    assert math.isnan(score.hd95_mm)
    assert math.isnan(score.surface_dice)
