import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.augment.filters.gaussian_field import gaussian_field
from fedgin.seeds import make_generator


@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=3).filter(lambda shape: max(shape) > 1),
    exponent=st.floats(0, 12),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40)
def test_every_field_has_mean_zero_and_variance_one(shape: list[int], exponent: float, seed: int) -> None:
    fields = gaussian_field(3, shape, exponent=exponent, gen=make_generator(seed)).flatten(1)
    torch.testing.assert_close(fields.mean(1), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(fields.std(1, correction=0), torch.ones(3), rtol=1e-4, atol=0)


@pytest.mark.parametrize("exponent", [2.0, 4.0])
def test_the_power_falls_with_the_frequency_as_asked(exponent: float) -> None:
    """Mean log powers of the modes (1, 0), (2, 0) and (4, 0) on a square; scaling a field to variance 1 cancels."""
    fields = gaussian_field(4000, (16, 16), exponent=exponent, gen=make_generator(1))
    power = torch.fft.fft2(fields).abs().square()
    level = power[:, [1, 2, 4, 0, 0, 0], [0, 0, 0, 1, 2, 4]].log().mean(0)
    expected = -exponent * math.log(2)
    assert level.diff().tolist() == pytest.approx([expected, expected, 2 * -expected, expected, expected], abs=0.15)
    assert power[:, 0, 0].max() < 1e-4 * power[:, 1, 0].mean()


def test_a_large_exponent_leaves_the_longest_waves() -> None:
    fields = gaussian_field(50, (32, 32), exponent=10.0, gen=make_generator(2))
    power = torch.fft.fft2(fields).abs().square()
    longest = power[:, [0, 0, 1, 31], [1, 31, 0, 0]].sum(1)
    assert (longest / power.sum((1, 2))).mean() > 0.9


def test_a_single_element_is_zero() -> None:
    assert gaussian_field(2, (1, 1), exponent=10.0, gen=make_generator(1)).tolist() == [[[0.0]], [[0.0]]]
