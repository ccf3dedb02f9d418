import numpy as np
import pytest

from fedgin.phantoms.fields import SplineField, correlated_noise, draw_spline_field, partial_volume
from fedgin.phantoms.grid import trunk_grid

GRID = trunk_grid(4.0, 5.0)


def test_equal_weights_give_a_constant_field() -> None:
    # Cubic B-splines sum to one, inside the lattice.
    weights = np.full(draw_spline_field(np.random.default_rng(0), 60.0, 1.0).weights.shape, 2.5)
    np.testing.assert_allclose(SplineField(weights, 60.0).on(GRID), 2.5, atol=1e-5)


def test_a_field_does_not_depend_on_the_grid() -> None:
    field, coarse = draw_spline_field(np.random.default_rng(1), 50.0, 4.0), trunk_grid(12.0, 15.0)
    fine, rough = field.on(GRID), field.on(coarse)
    x, y, z = (int(np.abs(axis - there[3]).argmin()) for axis, there in zip(GRID.axes(), coarse.axes(), strict=True))
    assert fine[x, y, z] == pytest.approx(rough[3, 3, 3], abs=1.0)


def test_amplitude_is_the_standard_deviation() -> None:
    values = [draw_spline_field(np.random.default_rng(seed), 40.0, 3.0).on(GRID).std() for seed in range(4)]
    assert np.mean(values) == pytest.approx(3.0, rel=0.2)


def test_correlated_noise_has_unit_variance_and_the_asked_correlation() -> None:
    length = 8.0
    noise = correlated_noise(np.random.default_rng(2), GRID, (length, length, length))
    assert noise.std() == pytest.approx(1.0, rel=1e-3)
    # White noise under a Gaussian of s has the autocorrelation exp(-d^2 / 4 s^2).
    measured = float(np.mean(noise[:-2] * noise[2:]))
    assert measured == pytest.approx(np.exp(-(8.0**2) / (4 * length**2)), abs=0.05)


def test_partial_volume_mixes_an_edge_and_keeps_the_rest() -> None:
    step = np.zeros((20, 8, 8), dtype=np.float32)
    step[10:] = 100.0
    mixed = partial_volume(step)
    assert 0 < mixed[9, 4, 4] < 50 < mixed[10, 4, 4] < 100
    np.testing.assert_allclose(mixed[[0, -1]], step[[0, -1]], atol=1e-3)
