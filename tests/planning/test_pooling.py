"""Percentiles of all sites' cases, from percentiles of each."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.planning.pooling import Shared, pool

GROUPS = st.lists(
    st.builds(
        lambda low, steps, cases: Shared({"p25": low, "p50": low + steps[0], "p75": low + sum(steps)}, cases),
        st.floats(0.1, 100.0),
        st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0)),
        st.integers(3, 1000),
    ),
    min_size=1,
    max_size=6,
)


def test_the_median_of_one_site_is_its_own() -> None:
    assert pool([Shared({"p25": 1.0, "p50": 3.0, "p75": 4.0}, 7)], 50.0) == 3.0


@pytest.mark.parametrize(("cases", "median"), [((10, 9), 1.0), ((9, 10), 5.0)])
def test_the_median_lies_with_the_site_that_has_more_cases(cases: tuple[int, int], median: float) -> None:
    """Two sites, each of one protocol."""
    first, second = (Shared(dict.fromkeys(("p25", "p50", "p75"), value), 0) for value in (1.0, 5.0))
    groups = [replace(first, cases=cases[0]), replace(second, cases=cases[1])]
    assert pool(groups, 50.0) == median


def test_a_tail_is_what_the_sites_know_of_theirs() -> None:
    """A site of 30 cases shares percentile 10; one of 3 does not, and its quartile stands for it."""
    large = Shared({"p10": 2.0, "p25": 3.0, "p50": 5.0, "p75": 5.0, "p90": 6.0}, 30)
    small = Shared({"p25": 1.0, "p50": 1.0, "p75": 1.0}, 3)
    assert pool([large], 10.0) == 2.0
    assert pool([large, small], 5.0) == 1.0
    assert pool([large, small], 50.0) == pytest.approx(4.6)


@given(GROUPS, st.randoms(use_true_random=False), st.floats(0.0, 100.0))
def test_the_order_of_the_sites_changes_nothing_and_the_result_lies_between_them(
    groups: list[Shared], order: Random, percentile: float
) -> None:
    found = pool(groups, percentile)
    shuffled = list(groups)
    order.shuffle(shuffled)
    assert pool(shuffled, percentile) == found
    alone = [pool([group], percentile) for group in groups]
    assert min(alone) <= found <= max(alone)
