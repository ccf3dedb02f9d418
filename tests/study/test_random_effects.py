"""Intervals hold what they claim to hold, and a shift is found where there is one."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from fedgin.study.random_effects import bootstrap_over_sites, combine, new_site, standing_out
from fedgin.train.evaluate.estimates import Values

TRUE_MEAN = 0.8
BETWEEN = 0.05
WITHIN = 0.08
DRAWS = 1_000


def draw(rng: np.random.Generator, sites: int, *, between: float = BETWEEN, shift: float = 0.0) -> list[Values]:
    """Return the patients of sites, 8 to 24 each; the first one's are shifted."""
    means = TRUE_MEAN + between * rng.standard_normal(sites)
    means[0] += shift
    return [mean + WITHIN * rng.standard_normal(rng.integers(8, 25)) for mean in means]


def reduced(sites: list[Values]) -> tuple[Values, Values, int]:
    """Return the sites' means, their variances by the pooled variance of patients, and its degrees of freedom."""
    sizes = np.array([site.size for site in sites])
    freedom = int((sizes - 1).sum())
    squares = sum(float(((site - site.mean()) ** 2).sum()) for site in sites)
    return np.array([site.mean() for site in sites]), squares / freedom / sizes, freedom


def draws(seed: int, sites: int, count: int = DRAWS) -> Iterator[tuple[list[Values], float]]:
    """Yield the patients of sites, and the true mean of a further one."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield draw(rng, sites), TRUE_MEAN + BETWEEN * rng.standard_normal()


@pytest.mark.parametrize("sites", [5, 20])
def test_the_interval_of_the_mean_holds_it_in_95_of_100_draws(sites: int) -> None:
    found = [combine(*reduced(patients)).interval for patients, _ in draws(1, sites)]
    assert 0.93 <= np.mean([low < TRUE_MEAN < high for low, high in found]) <= 0.97


@pytest.mark.parametrize("sites", [5, 20])
def test_the_interval_of_a_new_site_holds_it_in_95_of_100_draws(sites: int) -> None:
    held = []
    for patients, truth in draws(2, sites):
        low, high = new_site(*reduced(patients)[:2])
        held.append(low < truth < high)
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("sites", "resamples"), [(5, 2_000), (20, 400)])
def test_the_bootstrap_holds_the_mean_in_95_of_100_draws(sites: int, resamples: int) -> None:
    found = [bootstrap_over_sites(patients, resamples) for patients, _ in draws(3, sites)]
    assert 0.93 <= np.mean([low < TRUE_MEAN < high for low, high in found]) <= 0.97


def test_a_planted_shift_is_found_and_no_shift_is_not() -> None:
    rng = np.random.default_rng(4)
    shifted = [reduced(draw(rng, 6, between=0.0, shift=-0.15)) for _ in range(100)]
    assert np.mean([combine(*found).p < 0.05 for found in shifted]) > 0.95
    assert np.mean([standing_out(*found[:2]) == [0] for found in shifted]) > 0.6
    equal = [reduced(draw(rng, 6, between=0.0)) for _ in range(DRAWS)]
    assert 0.03 < np.mean([combine(*found).p < 0.05 for found in equal]) < 0.07
    assert np.mean([bool(standing_out(*found[:2])) for found in equal[:200]]) < 0.05


def test_a_site_does_not_stand_out_where_all_sites_differ() -> None:
    rng = np.random.default_rng(5)
    found = [standing_out(*reduced(draw(rng, 6))[:2]) for _ in range(200)]
    assert np.mean([bool(places) for places in found]) < 0.08


def test_sites_of_one_size_give_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(6)
    table = TRUE_MEAN + BETWEEN * rng.standard_normal((7, 1)) + WITHIN * rng.standard_normal((7, 11))
    found = combine(*reduced(list(table)))
    means = table.mean(axis=1)
    within = table.var(axis=1, ddof=1).mean() / 11
    assert found.mean == pytest.approx(means.mean())
    assert found.tau**2 == pytest.approx(means.var(ddof=1) - within, rel=1e-4)
    assert found.q == pytest.approx(6 * means.var(ddof=1) / within)
    assert found.i2 == pytest.approx(1 - 6 / found.q)
    assert found.p == pytest.approx(stats.f_oneway(*table).pvalue)
    expected = stats.t.interval(0.95, 6, means.mean(), means.std(ddof=1) / 7**0.5)
    assert found.interval == pytest.approx(expected, rel=1e-4)


def test_sites_of_very_many_patients_give_the_interval_of_a_next_draw() -> None:
    """Where each site's mean is known, a new one is the next draw from a normal distribution."""
    means = np.random.default_rng(7).normal(TRUE_MEAN, BETWEEN, 8)
    expected = stats.t.interval(0.95, 7, means.mean(), means.std(ddof=1) * (1 + 1 / 8) ** 0.5)
    assert new_site(means, np.full(8, 1e-9)) == pytest.approx(expected, abs=2e-3)


def test_equal_sites_have_no_variance_between_them() -> None:
    found = combine(np.full(4, 0.7), np.full(4, 1e-3), 30)
    assert (found.tau, found.i2, found.p) == (0.0, 0.0, 1.0)
    low, high = new_site(np.full(4, 0.7), np.full(4, 1e-3))
    assert low < 0.7 < high
