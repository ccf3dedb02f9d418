from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedgin.study.statistics import equivalence, gaps, holm, mean_ranks, paired_tests, ratio_of
from fedgin.train.evaluate.estimates import Subject


def at(site: str, *values: float) -> dict[Subject, float]:
    return {(site, number): value for number, value in enumerate(values, start=1)}


def uniform(seed: int, count: int = 12) -> dict[Subject, float]:
    return at("a", *np.random.default_rng(seed).uniform(size=count))


def test_a_ratio_of_proportional_values_has_no_spread() -> None:
    whole = uniform(3)
    part = {subject: 0.9 * value for subject, value in whole.items()}
    found = ratio_of(part, whole)
    assert found is not None
    assert found.value == pytest.approx(0.9)
    assert found.high - found.low < 1e-9, "a patient's two values must be resampled together"


@pytest.mark.parametrize("below", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.3)])
def test_there_is_no_ratio_to_what_is_0_or_is_so_in_a_resample(below: tuple[float, ...]) -> None:
    assert ratio_of(at("a", 0.1, 0.2, 0.3), at("a", *below)) is None
    assert ratio_of(at("a", 0.0, 0.0, 0.0), at("a", *below)) is None


def test_patients_who_have_nothing_leave_a_ratio_where_no_resample_is_of_them_alone() -> None:
    below = at("a", 0.0, *np.linspace(0.2, 0.9, 30))
    found = ratio_of({subject: 2 * value for subject, value in below.items()}, below)
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_only_patients_of_both_are_compared() -> None:
    assert gaps(at("a", 0.5, 0.7), at("a", 0.4)) == {("a", 1): pytest.approx(0.1)}
    with pytest.raises(ValueError, match="no patient"):
        gaps(at("a", 0.5), at("b", 0.5))


def test_eight_gains_of_eight_have_the_smallest_p_that_eight_allow() -> None:
    found = paired_tests({"other": at("a", *np.linspace(0.01, 0.08, 8))})["other"]
    assert found.p == pytest.approx(2 / 2**8)
    assert found.p == pytest.approx(found.smallest)
    assert found.median == pytest.approx(0.045)


# With ties SciPy goes through every choice of signs: 2 to the power of how many there are, three times a list.
@given(st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=7).filter(any))
def test_the_direction_is_the_one_in_which_the_test_rejects(differences: list[float]) -> None:
    up, down = (stats.wilcoxon(differences, alternative=side).pvalue for side in ("greater", "less"))
    assert paired_tests({"other": at("a", *differences)})["other"].direction == np.sign(down - up)


def test_no_difference_is_no_evidence() -> None:
    found = paired_tests({"other": at("a", 0.0, 0.0, 0.0)})["other"]
    assert (found.p, found.direction) == (1.0, 0)


@given(st.permutations([0.01, 0.02, 0.03, 0.04]))
def test_holm_matches_a_computation_by_hand_in_any_order(p: list[float]) -> None:
    # 4 * 0.01, 3 * 0.02, 2 * 0.03, 0.04 made monotone.
    expected = {0.01: 0.04, 0.02: 0.06, 0.03: 0.06, 0.04: 0.06}
    assert holm(p) == pytest.approx([expected[value] for value in p])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_never_lowers_and_never_reorders(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(raw <= new <= 1.0 for raw, new in zip(p, adjusted, strict=True))
    assert all(a <= b for (x, a), (y, b) in permutations(zip(p, adjusted, strict=True), 2) if x < y)


def test_ranks_share_ties_and_average_over_patients() -> None:
    found = mean_ranks({"x": at("a", 0.9, 0.5), "y": at("a", 0.1, 0.5), "z": at("a", 0.2, 0.1)})
    assert found == {"x": pytest.approx(1.25), "y": pytest.approx(2.25), "z": pytest.approx(2.5)}


def test_equivalence_is_that_the_interval_of_90_percent_is_within_the_margin() -> None:
    for seed in range(20):
        data = np.random.default_rng(seed).normal(0.012, 0.02, 15)
        low, high = stats.t.interval(0.9, 14, data.mean(), stats.sem(data))
        assert (equivalence(at("a", *data)) < 0.05) == (low > -0.02 and high < 0.02)


def test_few_patients_are_no_evidence_of_equivalence() -> None:
    assert equivalence(at("a", 0.03, -0.03, 0.0)) > 0.05
    assert equivalence(at("a", 0.0, 0.0)) == 0.0
    assert equivalence(at("a", 0.02, 0.02)) == 1.0
    assert np.isnan(equivalence(at("a", 0.0)))
