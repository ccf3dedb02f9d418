import math

import numpy as np
import pytest

from fedgin.study.statistics import case_values, estimate
from fedgin.train.scores import CaseScore


def score(site: str, case: int, organ: str, dice: float, modality: str = "MR") -> CaseScore:
    return CaseScore(site, modality, "test", case, case, organ, dice, 1.0, 1.0)


SCORES = [
    score("a", 1, "liver", 0.8),
    score("a", 1, "spleen", 0.4),
    score("a", 2, "liver", 0.6),
    score("a", 2, "spleen", math.nan),
    score("b", 1, "liver", 0.2),
    score("c", 1, "liver", 0.9, "CT"),
]


def test_a_case_counts_once_whatever_its_organs() -> None:
    assert case_values(SCORES, modality="MR") == pytest.approx([0.6, 0.6, 0.2])
    assert case_values(SCORES, modality="MR", organ="spleen") == pytest.approx([0.4])
    assert case_values(SCORES, modality="CT", organ="spleen") == []


def test_one_case_has_no_interval() -> None:
    found = estimate([0.4])
    assert (found.mean, found.low, found.high, found.cases) == (0.4, 0.4, 0.4, 1)


def test_the_interval_holds_the_mean_and_repeats() -> None:
    values = list(np.random.default_rng(0).uniform(size=12))
    found = estimate(values)
    assert found.low < found.mean < found.high
    assert found == estimate(values)


def test_the_interval_has_about_the_asked_coverage() -> None:
    """Of 200 samples of 30 uniform values, about 95 % of the intervals must hold 0.5."""
    rng = np.random.default_rng(1)
    intervals = [estimate(list(rng.uniform(size=30)), resamples=500) for _ in range(200)]
    held = sum(found.low <= 0.5 <= found.high for found in intervals)
    assert 178 <= held <= 199


def test_nothing_to_average_is_loud() -> None:
    with pytest.raises(ValueError, match="no value"):
        estimate([])
