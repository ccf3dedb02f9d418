import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.augment.blend_masks import over_batch, random_rectangles
from fedgin.seeds import make_generator


@given(seed=st.integers(0, 2**32), height=st.integers(1, 20), width=st.integers(1, 20), data=st.data())
@settings(max_examples=50, deadline=None)
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
