"""Means with their uncertainty. The case is the unit: organs of one patient are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fedgin.train.scores import CaseScore


@dataclass(frozen=True)
class Estimate:
    """A mean over cases.

    Attributes:
        mean: of the cases' values.
        low: lower end of the 95 % interval; equals ``mean`` where there is one case only.
        high: upper end.
        cases: number of cases.
    """

    mean: float
    low: float
    high: float
    cases: int


def estimate(values: Sequence[float], *, seed: int = 0, resamples: int = 10_000) -> Estimate:
    """Return the mean of one value a case with its percentile bootstrap interval over cases (scipy).

    With few cases the interval is too narrow rather than too wide; the number of cases is shown beside it.

    Raises:
        ValueError: there is no value.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("no value to average")
    mean = float(data.mean())
    if data.size == 1 or float(np.ptp(data)) == 0.0:
        return Estimate(mean, mean, mean, int(data.size))
    result = stats.bootstrap(
        (data,), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
    )
    return Estimate(mean, float(result.confidence_interval.low), float(result.confidence_interval.high), int(data.size))


def case_values(scores: Sequence[CaseScore], *, modality: str, organ: str | None = None) -> list[float]:
    """Return one Dice a case: of one organ, or the mean of the organs that the case shows."""
    found: dict[tuple[str, int], list[float]] = {}
    for score in scores:
        if score.modality == modality and organ in (None, score.organ) and not np.isnan(score.dice):
            found.setdefault((score.site, score.case), []).append(score.dice)
    return [float(np.mean(values)) for values in found.values()]
