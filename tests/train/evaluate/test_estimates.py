import math

import pytest

from fedgin.train.evaluate.estimates import mean_of
from tests.study.test_statistics import at, uniform


def test_one_patient_has_no_interval_and_no_deviation() -> None:
    found = mean_of(at("a", 0.4))
    assert (found.value, found.low, found.high, found.cases) == (0.4, 0.4, 0.4, 1)
    assert math.isnan(found.sd)


def test_the_interval_holds_the_mean_and_repeats() -> None:
    found = mean_of(uniform(0))
    assert found.low < found.value < found.high
    assert found == mean_of(uniform(0))


def test_the_interval_has_about_the_asked_coverage() -> None:
    """Of 60 samples of 30 uniform values, about 95 % of the intervals must hold 0.5."""
    found = [mean_of(uniform(seed, 30)) for seed in range(60)]
    assert 51 <= sum(one.low <= 0.5 <= one.high for one in found) <= 60


def test_patients_are_resampled_within_their_site() -> None:
    # The sites differ, their patients do not: nothing varies within a site, so the mean has no spread at all.
    values = at("a", 0.2, 0.2, 0.2) | at("b", 0.9, 0.9)
    found = mean_of(values)
    assert found.low == found.high == pytest.approx(found.value)


def test_a_site_with_one_patient_joins_the_others() -> None:
    found = mean_of(at("a", 0.2, 0.4, 0.3) | at("b", 0.9))
    assert found.low < found.value < found.high


def test_nothing_to_average_is_loud() -> None:
    with pytest.raises(ValueError, match="no value"):
        mean_of({})
