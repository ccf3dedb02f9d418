"""Results by site, and what they say about a centre that was not measured.

The patient is the unit inside a site, the site the unit among sites. A site's variance is that of all patients about
their sites' means: with each site's own, four patients in each of five sites gave intervals that hold the mean in 88
to 90 % of draws, with this one in 94 to 96 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedgin.study.plan import LEAST_SITES
from fedgin.study.random_effects import (
    LEVEL,
    Combined,
    Interval,
    bootstrap_over_sites,
    combine,
    new_site,
    standing_out,
)
from fedgin.train.evaluate.estimates import RESAMPLES, Subject, Values


@dataclass(frozen=True)
class NotEstimated:
    """A number that the data cannot give, and why."""

    reason: str

    def __str__(self) -> str:
        """Return part of a sentence."""
        return f"cannot be estimated: {self.reason}"


@dataclass(frozen=True)
class SiteMean:
    """What a site measured.

    Attributes:
        site: its name.
        mean: over its patients.
        interval: of the mean, 95 %; NaN where no site has two patients.
        patients: their number.
        variance: of the mean; NaN as above.
    """

    site: str
    mean: float
    interval: Interval
    patients: int
    variance: float


@dataclass(frozen=True)
class Summary:
    """What all sites say together.

    Attributes:
        combined: the random-effects summary.
        bootstrap: 95 % interval of the mean over sites by resampling sites, then patients.
        new_site: where the mean of a new site's patients is expected, 95 %.
        apart: names of the sites that stand out from the others.
    """

    combined: Combined
    bootstrap: Interval
    new_site: Interval
    apart: tuple[str, ...]


@dataclass(frozen=True)
class Centres:
    """The sites and their summary."""

    sites: tuple[SiteMean, ...]
    summary: Summary | NotEstimated


def by_centre(values: Mapping[Subject, float], *, resamples: int = RESAMPLES) -> Centres:
    """Summarise one value a patient, such as a Dice or a difference of two methods, by site.

    Args:
        values: of the patients.
        resamples: of the bootstrap.
    """
    found: dict[str, list[float]] = {}
    for (site, _), value in values.items():
        found.setdefault(site, []).append(value)
    patients = {site: np.array(own) for site, own in found.items()}
    sites = _site_means(patients)
    if len(sites) < LEAST_SITES:
        reason = f"{len(sites)} site{'' if len(sites) == 1 else 's'} with patients, at least {LEAST_SITES} are needed"
        return Centres(sites, NotEstimated(reason))
    if not all(site.variance > 0.0 for site in sites):
        return Centres(sites, NotEstimated("no site has two patients with different values"))
    means, variances = (np.array([getattr(site, name) for site in sites]) for name in ("mean", "variance"))
    freedom = sum(site.patients - 1 for site in sites)
    # Three sites leave two to be stood out from.
    apart = standing_out(means, variances) if len(sites) > LEAST_SITES else []
    summary = Summary(
        combine(means, variances, freedom),
        bootstrap_over_sites(list(patients.values()), resamples),
        new_site(means, variances),
        tuple(sites[place].site for place in apart),
    )
    return Centres(sites, summary)


def _site_means(patients: Mapping[str, Values]) -> tuple[SiteMean, ...]:
    from scipy import special

    freedom = sum(own.size - 1 for own in patients.values())
    squares = sum(float(((own - own.mean()) ** 2).sum()) for own in patients.values())
    variance = squares / freedom if freedom else float("nan")
    factor = float(special.stdtrit(freedom, (1 + LEVEL) / 2)) if freedom else float("nan")
    found = []
    for site, own in patients.items():
        mean, reach = float(own.mean()), factor * (variance / own.size) ** 0.5
        found.append(SiteMean(site, mean, (mean - reach, mean + reach), own.size, variance / own.size))
    return tuple(found)
