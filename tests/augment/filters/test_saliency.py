"""The smoothed magnitude of a gradient."""

import pytest
import torch

from fedgin.augment.filters.saliency import saliency_map
from fedgin.seeds import make_generator

EACH_DIMENSION = pytest.mark.parametrize("spatial", [(24, 20), (12, 16, 20)])


@EACH_DIMENSION
def test_it_is_largest_where_the_gradient_is_and_smallest_far_from_it(spatial: tuple[int, ...]) -> None:
    gradient = torch.zeros(2, 1, *spatial)
    near, far = tuple(slice(0, 3) for _ in spatial), tuple(slice(-3, None) for _ in spatial)
    gradient[0, 0][near], gradient[1, 0][far] = -5.0, 1e-6
    first, second = saliency_map(gradient, 3)[:, 0]
    assert (float(first[near].amax()), float(first[far].amin())) == pytest.approx((1.0, 0.0))
    assert (float(second[far].amax()), float(second[near].amin())) == pytest.approx((1.0, 0.0))


@EACH_DIMENSION
@pytest.mark.parametrize("grid_size", [1, 3, 18])
def test_it_has_one_channel_between_0_and_1_and_ignores_the_sign(spatial: tuple[int, ...], grid_size: int) -> None:
    gradient = torch.randn(2, 3, *spatial, generator=make_generator(1))
    found = saliency_map(gradient, grid_size)
    assert found.shape == (2, 1, *spatial)
    assert 0.0 <= float(found.amin()) <= float(found.amax()) <= 1.0
    torch.testing.assert_close(saliency_map(-7.0 * gradient, grid_size), found, rtol=0, atol=1e-4)


def test_no_gradient_at_all_prefers_neither_view() -> None:
    assert torch.equal(saliency_map(torch.zeros(1, 1, 9, 12), 3), torch.full((1, 1, 9, 12), 0.5))


def test_a_finer_grid_follows_the_gradient_more_closely() -> None:
    gradient = torch.rand(1, 1, 36, 36, generator=make_generator(2))
    changes = [float(saliency_map(gradient, cells).diff(dim=-1).abs().sum()) for cells in (3, 18)]
    assert changes[0] < changes[1] / 3
