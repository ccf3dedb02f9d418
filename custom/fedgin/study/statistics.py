"""Means, intervals and tests (scipy). The patient is the unit: organs and slices of one patient are not independent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    low, high = _interval(_by_site([values]), lambda means: means[0])
    sd = float(data.std(ddof=1)) if data.size > 1 else float("nan")
    return Estimate(float(data.mean()), low, high, sd, data.size)


def gaps(first: Mapping[Subject, float], second: Mapping[Subject, float]) -> dict[Subject, float]:
    """Return first minus second for the patients of both.

    Raises:
        ValueError: no patient is in both.
    """
    return {subject: first[subject] - second[subject] for subject in _common(first, second)}


def ratio_of(first: Mapping[Subject, float], second: Mapping[Subject, float]) -> Estimate:
    """Return the mean of ``first`` divided by the mean of ``second``, over the patients of both.

    A patient's two values are resampled together, within its site.

    Raises:
        ValueError: no patient is in both.
    """
    shared = _common(first, second)
    pair = [{subject: values[subject] for subject in shared} for values in (first, second)]
    sites = _by_site(pair)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = _interval(sites, lambda means: means[0] / means[1])
        means = np.concatenate(sites, axis=1).mean(axis=1)
        return Estimate(float(means[0] / means[1]), low, high, float("nan"), len(shared))


@dataclass(frozen=True)
class PairedTest:
    """A two-sided Wilcoxon signed-rank test over patients.

    Attributes:
        median: the median difference, first minus second, the effect size.
        p: the p-value of the test; 1 where no patient differs.
        adjusted: ``p`` after Holm's correction over the family.
        cases: number of patients.
        smallest: the smallest p that so many patients allow.
    """

    median: float
    p: float
    adjusted: float
    cases: int
    smallest: float


def paired_tests(family: Mapping[str, Mapping[Subject, float]]) -> dict[str, PairedTest]:
    """Test whether each of a family of :func:`gaps` is centred at 0, with Holm's correction over the family."""
    data = {name: np.array(list(values.values())) for name, values in family.items()}
    raw = {name: float(stats.wilcoxon(gap).pvalue) if np.any(gap) else 1.0 for name, gap in data.items()}
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    return {
        name: PairedTest(float(np.median(gap)), raw[name], adjusted[name], gap.size, min(1.0, 2.0 ** (1 - gap.size)))
        for name, gap in data.items()
    }


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down method (Holm 1979), in the order given."""
    order = np.argsort(p)
    steps = [min(1.0, (len(p) - place) * p[index]) for place, index in enumerate(order)]
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(steps) if steps else []
    return [float(value) for value in adjusted]


def mean_ranks(methods: Mapping[str, Mapping[Subject, float]]) -> dict[str, float]:
    """Rank the methods within each patient that all have, 1 for the largest value, and average; ties share ranks.

    Raises:
        ValueError: no patient is in all.
    """
    shared = _common(*methods.values())
    table = np.array([[values[subject] for subject in shared] for values in methods.values()])
    return dict(zip(methods, stats.rankdata(-table, axis=0).mean(axis=1).tolist(), strict=True))


def _common(*values: Mapping[Subject, float]) -> list[Subject]:
    shared = [subject for subject in values[0] if all(subject in other for other in values)]
    if not shared:
        raise ValueError("no patient has a value in all of them")
    return shared


def _by_site(rows: Sequence[Mapping[Subject, float]]) -> list[Values]:
    """Return [rows, patients] for each site; the rows have the same patients."""
    sites = dict.fromkeys(site for site, _ in rows[0])
    if not sites:
        raise ValueError("no value to average")
    return [
        np.array([[row[subject] for subject in rows[0] if subject[0] == site] for row in rows], dtype=np.float64)
        for site in sites
    ]


def _interval(sites: Sequence[Values], of_means: Callable[[Values], Values]) -> tuple[float, float]:
    """Bootstrap a function of the rows' means; scipy resamples each site on its own and a patient's rows together."""

    def statistic(*resampled: Values, axis: int) -> Values:
        means = np.concatenate(resampled, axis=axis).mean(axis=axis)
        return np.asarray(of_means(means))

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
