"""Random effects over the means of sites (statsmodels): their mean, how they differ, and what a new site would have.

| what | how |
|---|---|
| variance between sites | Paule and Mandel 1982 |
| interval of the mean | Hartung, Knapp, Sidik and Jonkman, t with one degree less than sites |
| a new site | the confidence distribution of that variance (Nagashima, Noma, Furukawa 2019), by the generalised Q |
| bootstrap | sites, then patients of each; percentiles widened for few sites (Hesterberg 2015) |
| a site that stands out | its residual from the others' summary (Viechtbauer, Cheung 2010), Holm's correction |

The usual interval for a new site (Higgins et al. 2009) held it in 86 to 93 % of draws, with 5 and with 20 sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedgin.study.statistics import holm
from fedgin.train.evaluate.estimates import Values

Interval = tuple[float, float]
LEVEL = 0.95
SIGNIFICANT = 0.05
_POINTS = 200  # of the confidence distribution of the variance between sites
_HALVINGS = 40


@dataclass(frozen=True)
class Combined:
    """Means of sites taken together.

    Attributes:
        mean: expected at a site, each being a draw from all that there could be.
        interval: of the mean, 95 %.
        q: Cochran's Q.
        p: its p-value (F, the variances being estimated); small where sites differ by more than their patients explain.
        i2: share of the variance of the sites' means that is between sites, 0 to 1.
        tau: standard deviation between sites.
    """

    mean: float
    interval: Interval
    q: float
    p: float
    i2: float
    tau: float


def combine(means: Values, variances: Values, freedom: int) -> Combined:
    """Return the random-effects summary of two sites or more.

    Args:
        means: [sites].
        variances: [sites], of the means, above 0.
        freedom: degrees of freedom of the patients' variance that they come from.
    """
    from scipy import stats

    found = _fit(means, variances)
    low, high = found.conf_int(alpha=1 - LEVEL, use_t=True)[3]
    return Combined(
        mean=float(found.mean_effect_re),
        interval=(float(low), float(high)),
        q=float(found.q),
        p=float(stats.f.sf(found.q / (means.size - 1), means.size - 1, freedom)),
        i2=max(0.0, float(found.i2)) if found.q > 0.0 else 0.0,
        tau=float(found.tau2) ** 0.5,
    )


def new_site(means: Values, variances: Values) -> Interval:
    """Return where the true mean of a new site is expected, 95 %, for three sites or more.

    The generalised Q at the true variance between sites follows chi-squared. Read backwards it is a distribution of
    that variance, and each variance gives a normal distribution of a new site; the interval holds their mixture.
    """
    from scipy import special

    between = np.concatenate([[0.0], np.geomspace(1e-4 * variances.min(), 1e4 * (variances.max() + means.var()), 300)])
    weights = 1.0 / (variances + between[:, None])
    total = weights.sum(axis=1)
    centres = (weights * means).sum(axis=1) / total
    q = (weights * (means - centres[:, None]) ** 2).sum(axis=1)
    quantiles = 2.0 * special.gammaincinv((means.size - 1) / 2, (np.arange(_POINTS) + 0.5) / _POINTS)
    drawn = np.interp(quantiles, q[::-1], between[::-1])
    middle = np.interp(drawn, between, centres)
    spread = np.sqrt(drawn + np.interp(drawn, between, 1.0 / total))
    low, high = (_quantile(middle, spread, share) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return low, high


def standing_out(means: Values, variances: Values) -> list[int]:
    """Return the places of the sites that the summary of the others does not explain, for four sites or more."""
    from scipy import stats

    residuals = []
    for place in range(means.size):
        others = _fit(np.delete(means, place), np.delete(variances, place))
        spread = variances[place] + others.tau2 + others.sd_eff_w_re**2
        residuals.append((means[place] - others.mean_effect_re) / spread**0.5)
    p = holm(list(2.0 * stats.t.sf(np.abs(residuals), means.size - 2)))
    return [place for place, value in enumerate(p) if value < SIGNIFICANT]


def bootstrap_over_sites(sites: Sequence[Values], resamples: int) -> Interval:
    """Resample sites, then patients of each; return a 95 % interval of the mean over sites, each counting the same.

    Args:
        sites: values of each site's patients.
        resamples: how many.
    """
    from scipy import special

    rng = np.random.default_rng(0)
    drawn = rng.integers(len(sites), size=(resamples, len(sites)))
    found = np.empty(drawn.shape)
    for place, patients in enumerate(sites):
        slots = drawn == place
        picked = rng.integers(patients.size, size=(int(slots.sum()), patients.size))
        found[slots] = patients[picked].mean(axis=1)
    # A resample varies less than a sample, by 1 - 1/sites, and the normal distribution less than Student's.
    size = len(sites)
    reach = (size / (size - 1)) ** 0.5 * special.stdtrit(size - 1, (1 + LEVEL) / 2)
    tail = float(special.ndtr(-reach))
    low, high = np.quantile(found.mean(axis=1), (tail, 1 - tail))
    return float(low), float(high)


def _fit(means: Values, variances: Values) -> Any:
    from statsmodels.stats.meta_analysis import combine_effects  # pandas behind it takes a second

    return combine_effects(means, variances, method_re="pm", use_t=True)


def _quantile(middle: Values, spread: Values, share: float) -> float:
    """Return a quantile of a mixture of normal distributions by halving."""
    from scipy import special

    low, high = float((middle - 9.0 * spread).min()), float((middle + 9.0 * spread).max())
    for _ in range(_HALVINGS):
        at = (low + high) / 2
        low, high = (at, high) if special.ndtr((at - middle) / spread).mean() < share else (low, at)
    return (low + high) / 2
