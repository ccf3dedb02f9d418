"""Means over patients with intervals (scipy). The patient is the unit: a patient's organs are not independent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
# A patient: site and number.
Subject = tuple[str, int]

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A number computed over patients.

    Attributes:
        value: the number.
        low: lower end of the 95 % interval; equals ``value`` where nothing varies or there is one patient only.
        high: upper end.
        sd: standard deviation between patients; NaN for one patient, and for numbers that are no mean.
        cases: number of patients.
    """

    value: float
    low: float
    high: float
    sd: float
    cases: int


def mean_of(values: Mapping[Subject, float]) -> Estimate:
    """Return the mean over patients with its bootstrap interval.

    Patients are resampled within each site (all together if a site has only one), percentile method. With few patients
    the interval is too narrow rather than too wide; their number is shown beside it.

    Raises:
        ValueError: there is no value.
    """
    data = np.array(list(values.values()))
    low, high = bootstrap_interval(by_site([values]), lambda means: means[0])
    sd = float(data.std(ddof=1)) if data.size > 1 else float("nan")
    return Estimate(float(data.mean()), low, high, sd, data.size)


def by_site(rows: Sequence[Mapping[Subject, float]]) -> list[Values]:
    """Return [rows, patients] for each site; the rows have the same patients."""
    sites = dict.fromkeys(site for site, _ in rows[0])
    if not sites:
        raise ValueError("no value to average")
    return [
        np.array([[row[subject] for subject in rows[0] if subject[0] == site] for row in rows], dtype=np.float64)
        for site in sites
    ]


def bootstrap_interval(sites: Sequence[Values], of_means: Callable[[Values], Values]) -> tuple[float, float]:
    """Bootstrap a function of the rows' means; scipy resamples each site on its own and a patient's rows together."""

    def statistic(*resampled: Values, axis: int) -> Values:
        means = np.concatenate(resampled, axis=axis).mean(axis=axis)
        return np.asarray(of_means(means))

    from scipy import stats  # takes as long as MONAI, which a site's training process waits for at each start

    pooled = np.concatenate(sites, axis=1)
    if pooled.shape[1] == 1 or float(np.ptp(pooled, axis=1).max()) == 0.0:
        only = float(statistic(pooled, axis=-1))
        return only, only
    # A site with one patient has nothing to resample; all patients are one stratum then.
    strata = [pooled] if any(site.shape[1] == 1 for site in sites) else sites
    result = stats.bootstrap(
        strata,
        statistic,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
