import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.filters.bezier import bezier_map
from fedgin.augment.methods.location_scale import LocationScale, LocationScaleParams
from fedgin.seeds import make_generator

STRAIGHT = torch.tensor([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])


def ramp(count: int = 100) -> Tensor:
    """Grey values 0 to 1 in equal steps, each once."""
    return torch.linspace(0.0, 1.0, count + 1).reshape(1, 1, 1, -1)


def applied(x: Tensor, control: Tensor, scale: float, shift: float) -> Tensor:
    params = LocationScaleParams(control[None], torch.tensor([scale]), torch.tensor([shift]))
    return LocationScale().apply(x, Draw.for_all(params, 1))


@given(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4))
@example([1.0, 0.0, 1.0, 0.0])
def test_a_curve_starts_at_0_ends_at_1_and_never_falls(points: list[float]) -> None:
    mapped = bezier_map(ramp(500), torch.tensor(points).reshape(1, 2, 2)).flatten()
    assert mapped[0] == pytest.approx(0.0, abs=1e-6)
    assert mapped[-1] == pytest.approx(1.0, abs=1e-6)
    assert (mapped.diff() >= -1e-6).all()


@given(st.floats(0.01, 0.99))
def test_a_curve_passes_through_the_points_of_its_formula(t: float) -> None:
    """Control points that already rise: sorting changes nothing, so the parametric formula holds."""
    inner = [(0.1, 0.4), (0.5, 0.9)]
    x, y = (3 * t * (1 - t) ** 2 * inner[0][a] + 3 * t**2 * (1 - t) * inner[1][a] + t**3 for a in range(2))
    found = bezier_map(torch.tensor([[x]], dtype=torch.float32), torch.tensor([inner]))
    assert float(found) == pytest.approx(y, abs=1e-4)


def test_a_straight_curve_with_gain_1_and_shift_0_changes_nothing() -> None:
    x = 7.0 * ramp() - 3.0
    torch.testing.assert_close(applied(x, STRAIGHT, 1.0, 0.0), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("shift", "expected"), [(0.1, 0.1), (9.0, 0.2), (-9.0, -0.2), (-0.05, -0.05)])
def test_a_shift_is_bounded_by_the_20th_and_the_80th_percentile(shift: float, expected: float) -> None:
    found = applied(ramp(), STRAIGHT, 1.0, shift)
    torch.testing.assert_close(found, (ramp() + expected).clamp(0, 1), rtol=0, atol=1e-4)


def test_a_gain_scales_from_the_darkest_value_and_stays_in_the_range() -> None:
    x = 10.0 * ramp() + 5.0
    torch.testing.assert_close(applied(x, STRAIGHT, 1.1, 0.0), (11.0 * ramp() + 5.0).clamp(5, 15), rtol=0, atol=1e-3)


@given(st.integers(0, 2**32))
def test_the_order_of_grey_values_is_never_inverted(seed: int) -> None:
    x = torch.randn(2, 1, 12, 12, generator=make_generator(seed))
    shown = LocationScale()(x, gen=make_generator(seed + 1))
    for before, after in zip(x.flatten(1), shown.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= -1e-5).all()
    assert shown.amin() >= x.amin() - 1e-5
    assert shown.amax() <= x.amax() + 1e-5


def test_draws_have_the_spread_of_the_source() -> None:
    params = LocationScale().draw_params((20_000, 1, 8, 8), gen=make_generator(1))
    assert params.scale.amin() == pytest.approx(0.9)
    assert params.scale.amax() == pytest.approx(1.1)
    # A normal number lies beyond one deviation, where it is clipped, with a chance of 0.3173.
    clipped = float(((params.scale == 0.9) | (params.scale == 1.1)).float().mean())
    assert clipped == pytest.approx(0.3173, abs=4 * math.sqrt(0.3173 * 0.6827 / 20_000))
    assert float(params.shift.std()) == pytest.approx(0.5, rel=0.03)
    assert float(params.control.mean()) == pytest.approx(0.5, abs=0.01)
