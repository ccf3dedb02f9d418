"""Regions and boxes are those that scipy finds, in whatever order the voxels lie in memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.data.regions import bounding_box, find_regions, keep_largest_regions, label_boxes, shift_box

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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.0, 0.9),
    order=st.sampled_from(ORDERS),
    kept=st.sets(st.integers(1, 4)),
)
def test_only_the_largest_region_of_a_kept_label_is_left(
    seed: int, share: float, order: tuple[int, ...], kept: set[int]
) -> None:
    """Everything else is as it was; what is cut becomes background; doing it again changes nothing."""
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 4, (9, 7, 11)) * (rng.random((9, 7, 11)) < share)).astype(np.uint8).transpose(order)
    before = labels.copy()
    cuts = keep_largest_regions(labels, kept)
    assert set(np.unique(labels[labels != before])) <= {0}
    for label in range(1, 5):
        sizes = np.bincount(ndimage.label(before == label)[0].ravel())[1:]
        if label in kept and len(sizes) > 1:
            assert ndimage.label(labels == label)[1] == 1
            assert np.count_nonzero(labels == label) == sizes.max()
            assert cuts[label].regions == len(sizes)
            assert cuts[label].share == pytest.approx(sizes.max() / sizes.sum())
        else:
            assert label not in cuts
            np.testing.assert_array_equal(labels == label, before == label)
    assert keep_largest_regions(labels, kept) == {}


def test_boxes_of_labels_are_those_of_scipy_and_none_where_there_is_nothing() -> None:
    labels = np.zeros((5, 6, 7), dtype=np.uint8, order="F")
    assert label_boxes(labels, 2) == [None, None]
    labels[1:3, 2, 3:6] = 2
    assert label_boxes(labels, 3) == [None, (slice(1, 3), slice(2, 3), slice(3, 6)), None]
