import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from fedgin.augment.filters.bspline import control_shape, quadratic_bspline
from fedgin.seeds import make_generator


@given(intervals=st.integers(1, 6), size=st.integers(1, 40))
@settings(max_examples=40)
def test_one_axis_agrees_with_scipy(intervals: int, size: int) -> None:
    control = torch.randn(1, *control_shape(intervals, 1), generator=make_generator(intervals))
    # Control point i is centred at i - 1 and reaches 1.5 to each side.
    spline = BSpline(torch.arange(intervals + 6) - 2.5, control[0].double().numpy(), 2)
    expected = torch.from_numpy(spline((torch.arange(size).double().numpy() + 0.5) / size * intervals)).float()
    torch.testing.assert_close(quadratic_bspline(control, (size,))[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 5), (4, 7, 6)])
def test_axes_are_separable_and_keep_their_order(shape: tuple[int, ...]) -> None:
    gen = make_generator(1)
    lines = [torch.randn(1, 6, generator=gen) for _ in shape]
    grid, expected = torch.ones(1), torch.ones(1)
    for line, size in zip(lines, shape, strict=True):
        grid = grid[..., None] * line[0]
        expected = expected[..., None] * quadratic_bspline(line, (size,))[0]
    torch.testing.assert_close(quadratic_bspline(grid, shape), expected, rtol=1e-4, atol=1e-5)


def test_equal_control_points_give_a_constant_and_samples_are_apart() -> None:
    control = torch.stack([torch.full((7, 7), 2.0), torch.full((7, 7), -1.0)])
    field = quadratic_bspline(control, (12, 10))
    torch.testing.assert_close(field[0], torch.full((12, 10), 2.0))
    torch.testing.assert_close(field[1], torch.full((12, 10), -1.0))
