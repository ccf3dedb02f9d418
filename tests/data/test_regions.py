"""Regions and boxes are those that scipy finds, in whatever order the voxels lie in memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.data.regions import bounding_box, find_regions, shift_box

ORDERS = list(itertools.permutations(range(3)))


def blobs(seed: int, share: float, order: tuple[int, ...], flipped: bool) -> NDArray[np.bool_]:
    """Return a random mask whose axes lie in memory in an order, one of them backwards."""
    mask = (np.random.default_rng(seed).random((9, 7, 11)) < share).transpose(order)
    return mask[::-1] if flipped else mask


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.9), order=st.sampled_from(ORDERS), flipped=st.booleans())
def test_regions_are_those_of_scipy(seed: int, share: float, order: tuple[int, ...], flipped: bool) -> None:
    mask = blobs(seed, share, order, flipped)
    numbers, count = ndimage.label(np.ascontiguousarray(mask))
    found = find_regions(mask)
    assert found.count == count
    # The same voxels together, whatever the numbers.
    pairs = {*zip(found.numbers.ravel().tolist(), numbers.ravel().tolist(), strict=True)}
    assert len(pairs) == count + bool((~mask).any())
    if count:
        assert sorted(found.sizes()) == sorted(np.bincount(numbers.ravel())[1:])
        largest = found.largest()
        assert np.count_nonzero(largest) == found.sizes().max()
        assert len(np.unique(found.numbers[largest])) == 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.004, 0.05]), order=st.sampled_from(ORDERS))
def test_the_box_is_the_smallest_that_holds_all(seed: int, share: float, order: tuple[int, ...]) -> None:
    mask = blobs(seed, share, order, flipped=True)
    box = bounding_box(mask)
    if not mask.any():
        assert box is None
        return
    [expected] = ndimage.find_objects(mask.astype(int))
    assert box == expected
    assert bounding_box(mask.astype(np.uint8) * 7) == expected
    wide = bounding_box(mask, margin=1)
    assert wide == tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, size)) for side, size in zip(expected, mask.shape, strict=True)
    )


def test_a_box_inside_a_box_is_moved_by_its_corner() -> None:
    values = np.arange(60).reshape(3, 4, 5)
    around, inner = (slice(1, 3), slice(0, 4), slice(2, 5)), (slice(1, 2), slice(1, 3), slice(0, 2))
    np.testing.assert_array_equal(values[shift_box(inner, around)], values[around][inner])


def test_no_region_has_no_largest() -> None:
    with pytest.raises(ValueError, match="empty"):
        find_regions(np.zeros((2, 2, 2), dtype=bool)).largest()
