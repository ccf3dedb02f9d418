"""Ratios, gaps and tests over patients (scipy)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fedgin.train.evaluate.estimates import Estimate, Subject, Values, bootstrap_interval, by_site


def gaps(first: Mapping[Subject, float], second: Mapping[Subject, float]) -> dict[Subject, float]:
    """Return first minus second for the patients of both.

    Raises:
        ValueError: no patient is in both.
    """
    return {subject: first[subject] - second[subject] for subject in _common(first, second)}


def ratio_of(first: Mapping[Subject, float], second: Mapping[Subject, float]) -> Estimate | None:
    """Return the mean of ``first`` divided by the mean of ``second``, over the patients of both.

    A patient's two values are resampled together, within its site.

    Returns:
        the ratio; nothing where the second mean is 0, or is 0 in a resample, so that the ratio has no interval.

    Raises:
        ValueError: no patient is in both.
    """
    shared = _common(first, second)
    pair = [{subject: values[subject] for subject in shared} for values in (first, second)]
    sites = by_site(pair)
    empty = False

    def ratio(means: Values) -> Values:
        nonlocal empty
        some = means[1] != 0.0
        empty |= not np.all(some)
        return np.divide(means[0], means[1], out=np.zeros_like(means[0]), where=some)

    value = float(ratio(np.concatenate(sites, axis=1).mean(axis=1)))
    low, high = bootstrap_interval(sites, ratio)
    return None if empty else Estimate(value, low, high, float("nan"), len(shared))


# Two Dice values that differ by less are as good as equal.
MARGIN = 0.02


def equivalence(differences: Mapping[Subject, float], margin: float = MARGIN) -> float:
    """Return the p-value of two one-sided t-tests (Schuirmann 1987); small where both are equivalent.

    Args:
        differences: of the patients.
        margin: a mean difference below it, either way, counts as none.

    Returns:
        the larger of the two p-values; NaN for one patient.
    """
    data = np.array(list(differences.values()))
    if data.size < 2:
        return float("nan")
    if float(np.ptp(data)) == 0.0:
        return 0.0 if abs(float(data[0])) < margin else 1.0
    above = stats.ttest_1samp(data, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(data, margin, alternative="less").pvalue
    return float(max(above, below))


@dataclass(frozen=True)
class PairedTest:
    """A two-sided Wilcoxon signed-rank test over patients.

    Attributes:
        median: the median difference, first minus second, the effect size.
        direction: 1 where the first ranks higher by the test, -1 where lower, 0 where neither; the mean of a few large
            differences can have the other sign.
        p: the p-value of the test; 1 where no patient differs.
        adjusted: ``p`` after Holm's correction over the family.
        cases: number of patients.
        smallest: the smallest p that so many patients allow.
    """

    median: float
    direction: int
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
        name: PairedTest(
            median=float(np.median(gap)),
            direction=_direction(gap),
            p=raw[name],
            adjusted=adjusted[name],
            cases=gap.size,
            smallest=min(1.0, 2.0 ** (1 - gap.size)),
        )
        for name, gap in data.items()
    }


def _direction(gap: Values) -> int:
    """Return the sign of the signed ranks' sum, which is what Wilcoxon's test looks at; zeros have no rank."""
    told = gap[gap != 0.0]
    return int(np.sign((np.sign(told) * stats.rankdata(np.abs(told))).sum()))


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
