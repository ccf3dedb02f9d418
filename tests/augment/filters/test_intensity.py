import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.augment.filters.intensity import to_range
from fedgin.seeds import make_generator


@given(
    seed=st.integers(0, 2**32),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    low=st.floats(-5, 5),
    width=st.floats(0.1, 10),
)
@settings(max_examples=50)
def test_each_sample_fills_the_range(seed: int, scale: float, shift: float, low: float, width: float) -> None:
    x = shift + scale * torch.randn(3, 2, 5, 7, generator=make_generator(seed))
    rows = to_range(x, low, low + width).flatten(1)
    torch.testing.assert_close(rows.amin(1), torch.full((3,), low), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rows.amax(1), torch.full((3,), low + width), rtol=1e-5, atol=1e-5)


def test_the_map_is_linear_over_all_channels_of_a_sample() -> None:
    x = torch.tensor([[[[2.0, 4.0]], [[6.0, 10.0]]], [[[0.0, 1.0]], [[1.0, 4.0]]]])
    expected = torch.tensor([[[[-1.0, -0.5]], [[0.0, 1.0]]], [[[-1.0, -0.5]], [[-0.5, 1.0]]]])
    assert torch.equal(to_range(x, -1.0, 1.0), expected)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e6])
def test_a_flat_sample_becomes_the_midpoint(value: float) -> None:
    assert torch.equal(to_range(torch.full((2, 1, 1, 4, 4), value), 0.0, 3.0), torch.full((2, 1, 1, 4, 4), 1.5))
