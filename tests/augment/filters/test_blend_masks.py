import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.augment.filters.blend_masks import MASKS, draw_masks, over_batch, random_rectangles
from fedgin.seeds import make_generator


@given(seed=st.integers(0, 2**32), height=st.integers(1, 20), width=st.integers(1, 20), data=st.data())
@settings(max_examples=50)
def test_rectangles_have_the_asked_sides_and_lie_inside(
    seed: int, height: int, width: int, data: st.DataObject
) -> None:
    low, high = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    masks = random_rectangles(
        5, (height, width), sides=((low, high), (width, width)), gen=make_generator("rectangles", seed)
    )
    assert masks.shape == (5, height, width)
    for mask in masks:
        rows = mask.any(1).nonzero().flatten()
        assert low <= len(rows) <= high
        assert len(rows) == 0 or int(rows[-1] - rows[0]) == len(rows) - 1
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0))


def test_sides_and_positions_are_equally_likely() -> None:
    masks = random_rectangles(20_000, (4, 1), sides=((0, 3), (1, 1)), gen=make_generator(1))[:, :, 0]
    sides = masks.sum(1)
    for side in range(4):
        assert (sides == side).float().mean().item() == pytest.approx(0.25, abs=0.02)
    starts = masks[sides == 1].int().argmax(1)
    for start in range(4):
        assert (starts == start).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_mask_covers_all_channels_and_slices_of_its_sample() -> None:
    masks = random_rectangles(3, (6, 5), sides=((0, 5), (0, 4)), gen=make_generator(1))
    spread = over_batch(masks, 5).expand(3, 2, 4, 6, 5)
    assert torch.equal(spread[:, 1, 3], masks)
    assert over_batch(masks, 4).shape == (3, 1, 6, 5)


@given(kind=st.sampled_from(MASKS), seed=st.integers(0, 2**32), height=st.integers(8, 40), width=st.integers(8, 40))
@settings(max_examples=50)
def test_masks_reach_zero_and_one(kind: str, seed: int, height: int, width: int) -> None:
    masks = draw_masks(kind, 3, (height, width), gen=make_generator("masks", seed))
    assert masks.shape == (3, height, width)
    assert torch.equal(masks.flatten(1).amin(1), torch.zeros(3))
    assert torch.equal(masks.flatten(1).amax(1), torch.ones(3))


@pytest.mark.parametrize("kind", MASKS)
def test_a_constant_mask_becomes_one_half(kind: str) -> None:
    assert torch.equal(draw_masks(kind, 2, (1, 1), gen=make_generator(1)), torch.full((2, 1, 1), 0.5))


def test_a_patch_has_a_fifth_to_half_of_each_side() -> None:
    masks = draw_masks("patch", 500, (40, 20), gen=make_generator(1))
    assert bool(((masks == 0) | (masks == 1)).all())
    heights, widths = masks.amax(2).sum(1), masks.amax(1).sum(1)
    assert (int(heights.min()), int(heights.max())) == (8, 20)
    assert (int(widths.min()), int(widths.max())) == (4, 10)


def test_the_grid_is_a_checkerboard_of_four_by_four() -> None:
    mask = draw_masks("grid", 1, (8, 12), gen=make_generator(1))[0]
    cells = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]).repeat(2, 1)
    assert torch.equal(mask, cells.repeat_interleave(2, 0).repeat_interleave(3, 1))


def test_smooth_masks_change_slowly_and_differ() -> None:
    masks = draw_masks("smooth", 4, (128, 96), gen=make_generator(1))
    assert masks.diff(dim=1).abs().max() < 0.06
    assert masks.diff(dim=2).abs().max() < 0.08
    assert torch.pdist(masks.flatten(1)).min() > 1
    assert torch.equal(masks, draw_masks("smooth", 4, (128, 96), gen=make_generator(1)))
