"""How much of the variation of Dice lies between sites, patients, organs and seeds: a mixed model (statsmodels).

Every value of a patient's organ with a seed is a mean, plus a random part of its site, of its patient, of its organ
and of its seed, plus a rest. Restricted maximum likelihood gives the variance of each part.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgin.seeds import derive_seed
from fedgin.study.centres import NotEstimated
from fedgin.train.evaluate.estimates import Values

# With two levels a variance is one squared difference.
LEAST_LEVELS = 3
# A model of so many values takes seconds; one of ten times as many would take an hour.
LARGEST = 1_200
# By so much a part may raise the log-likelihood and yet be as good as none.
_NEGLIGIBLE = 0.01
REST = "rest"

Levels = Mapping[str, NDArray[np.intp]]


@dataclass(frozen=True)
class Observation:
    """The Dice of a patient's organ with a seed."""

    site: str
    subject: int
    organ: str
    seed: int
    dice: float


@dataclass(frozen=True)
class Part:
    """The part of a factor.

    Attributes:
        factor: ``site``, ``patient``, ``organ``, ``seed`` or ``rest``.
        levels: how many of it there are; of ``rest`` the values.
        sd: standard deviation between them, in Dice.
        share: of the whole variance, 0 to 1.
    """

    factor: str
    levels: int
    sd: float | NotEstimated
    share: float


def split_variance(observations: Sequence[Observation]) -> list[Part]:
    """Return the part of each factor, the rest last.

    What a factor that cannot be estimated varies, if anything, is in the rest. Where the model cannot be fitted, no
    part can be estimated. Of more values than :data:`LARGEST` some patients of each site are drawn, with a fixed seed.
    """
    kept = _some(observations)
    factors = _levels(kept)
    counts = {name: _count(levels) for name, levels in factors.items()} | {REST: len(kept)}
    hidden = _hidden(counts)
    values = np.array([item.dice for item in kept], dtype=np.float64)
    found = _fit(values, {name: levels for name, levels in factors.items() if name not in hidden})
    total = sum(found.values()) if found else math.nan
    parts = []
    for name, count in counts.items():
        variance = found.get(name, math.nan) if found else math.nan
        unfitted = None if found else NotEstimated("the model could not be fitted to these values")
        parts.append(Part(name, count, hidden.get(name) or unfitted or math.sqrt(variance), variance / total))
    return parts


def _hidden(counts: Mapping[str, int]) -> dict[str, NotEstimated]:
    """Return the factors that have too few levels, or whose part cannot be told from another one's."""
    found = {}
    for name, count in counts.items():
        if count < LEAST_LEVELS:
            reason = f"{count} level{'' if count == 1 else 's'}, at least {LEAST_LEVELS} are needed"
            found[name] = NotEstimated(reason)
    if counts["patient"] in (counts["site"], counts[REST]):
        other = "one patient a site" if counts["patient"] == counts["site"] else "one value a patient"
        found["patient"] = NotEstimated(f"there is only {other}")
    return found


def _some(observations: Sequence[Observation]) -> list[Observation]:
    if len(observations) <= LARGEST:
        return list(observations)
    patients = sorted({(item.site, item.subject) for item in observations})
    rng = np.random.default_rng(derive_seed("patients of a variance split"))
    share = LARGEST / len(observations)
    chosen: set[tuple[str, int]] = set()
    for site in sorted({site for site, _ in patients}):
        own = [patient for patient in patients if patient[0] == site]
        picked = rng.permutation(len(own))[: max(2, int(share * len(own)))]
        chosen |= {own[place] for place in picked}
    return [item for item in observations if (item.site, item.subject) in chosen]


def _levels(observations: Sequence[Observation]) -> dict[str, NDArray[np.intp]]:
    keys: dict[str, list[object]] = {
        "site": [item.site for item in observations],
        "patient": [(item.site, item.subject) for item in observations],
        "organ": [item.organ for item in observations],
        "seed": [item.seed for item in observations],
    }
    return {name: _numbered(levels) for name, levels in keys.items()}


def _numbered(keys: Sequence[object]) -> NDArray[np.intp]:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.intp)


def _count(levels: NDArray[np.intp]) -> int:
    return int(levels.max(initial=-1)) + 1


def _fit(values: Values, factors: Levels) -> dict[str, float] | None:
    """Return variances by factor and of the rest; nothing where no model can be fitted.

    Where a part is all but none, the likelihood is flat about it and the optimiser may not end. The model without
    that part then serves, if it is as likely.
    """
    if not values.size or float(np.ptp(values)) == 0.0:
        return None
    scale = float(values.var())
    likeliest, none = -math.inf, dict[str, float]()
    while factors:
        try:
            fitted = _mixed_model(values / scale**0.5, factors)
        except np.linalg.LinAlgError:
            return None
        found = dict(zip(factors, fitted.vcomp, strict=True))
        likeliest = max(likeliest, fitted.llf)
        if fitted.converged and fitted.llf > likeliest - _NEGLIGIBLE:
            return _scaled({**none, **found, REST: fitted.scale}, scale)
        least = min(found, key=lambda name: found[name])
        none[least] = 0.0
        factors = {name: levels for name, levels in factors.items() if name != least}
    return None


def _scaled(variances: Mapping[str, float], scale: float) -> dict[str, float]:
    return {name: max(0.0, float(variance)) * scale for name, variance in variances.items()}


def _mixed_model(values: Values, factors: Levels) -> Any:
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec  # pandas behind it takes a second

    marks = [np.eye(_count(levels))[levels] for levels in factors.values()]
    names = [[[str(level) for level in range(mark.shape[1])]] for mark in marks]
    model = MixedLM(
        values,
        np.ones((values.size, 1)),
        groups=np.zeros(values.size),  # one, as organs and seeds cross sites
        exog_vc=VCSpec(list(factors), names, [[mark] for mark in marks]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a variance of 0; what counts is 'converged'
        return model.fit(reml=True)
