"""Variance parts against the analysis of variance, and where nothing can be said."""

import numpy as np
import pytest

from fedgin.study.centres import NotEstimated
from fedgin.study.variance_split import LARGEST, Observation, Part, split_variance


def observed(
    stream: int, *, sites: int = 5, patients: int = 5, organs: int = 3, seeds: int = 3, **sd: float
) -> list[Observation]:
    """Return values of every combination; ``sd`` has the standard deviation of each factor."""
    rng = np.random.default_rng(stream)
    of_site, of_organ, of_seed = (
        sd.get(name, 0.0) * rng.standard_normal(count)
        for name, count in (("site", sites), ("organ", organs), ("seed", seeds))
    )
    of_patient = sd.get("patient", 0.0) * rng.standard_normal((sites, patients))
    return [
        Observation(
            f"site_{site}",
            patient,
            f"organ_{organ}",
            run,
            0.8 + of_site[site] + of_patient[site, patient] + of_organ[organ] + of_seed[run] + sd["rest"] * rest,
        )
        for site in range(sites)
        for patient in range(patients)
        for organ in range(organs)
        for run in range(seeds)
        for rest in [rng.standard_normal()]
    ]


def parts(observations: list[Observation]) -> dict[str, Part]:
    return {part.factor: part for part in split_variance(observations)}


def test_a_balanced_table_gives_the_analysis_of_variance() -> None:
    data = observed(1, sites=6, organs=1, seeds=4, site=0.08, patient=0.05, rest=0.04)
    found = parts(data)
    table = np.array([item.dice for item in data]).reshape(6, 5, 4)
    rest = table.var(axis=2, ddof=1).mean()
    patient = table.mean(axis=2).var(axis=1, ddof=1).mean() - rest / 4
    site = table.mean(axis=(1, 2)).var(ddof=1) - (patient + rest / 4) / 5
    seed = found["seed"].sd
    assert isinstance(seed, float)
    assert seed < 0.01
    expected = {"site": site, "patient": patient, "rest": rest}
    for factor, variance in expected.items():
        assert found[factor].sd == pytest.approx(variance**0.5, rel=0.05)
    assert isinstance(found["organ"].sd, NotEstimated)


def test_the_shares_are_of_the_whole_and_the_planted_factor_is_the_largest() -> None:
    planted = {
        "site": observed(2, site=0.1, rest=0.03),
        "patient": observed(2, patient=0.1, rest=0.03),
        "organ": observed(2, organ=0.1, rest=0.03),
    }
    for factor, data in planted.items():
        found = parts(data)
        shares = {name: part.share for name, part in found.items()}
        assert sum(shares.values()) == pytest.approx(1.0)
        assert max(shares, key=lambda name: shares[name]) == factor


def test_a_factor_with_too_few_levels_is_said_to_be_so() -> None:
    found = parts(observed(3, sites=2, seeds=1, patient=0.1, rest=0.05))
    assert str(found["site"].sd) == "cannot be estimated: 2 levels, at least 3 are needed"
    assert str(found["seed"].sd) == "cannot be estimated: 1 level, at least 3 are needed"
    assert isinstance(found["patient"].sd, float)


def test_what_cannot_be_told_apart_is_said_to_be_so() -> None:
    one_each = parts(observed(4, patients=1, site=0.1, rest=0.05))
    assert str(one_each["patient"].sd) == "cannot be estimated: there is only one patient a site"
    once = parts(observed(5, organs=1, seeds=1, site=0.1, rest=0.05))
    assert str(once["patient"].sd) == "cannot be estimated: there is only one value a patient"


def test_values_that_do_not_vary_cannot_be_fitted() -> None:
    found = parts(observed(6, rest=0.0))
    assert {str(part.sd) for part in found.values()} == {
        "cannot be estimated: the model could not be fitted to these values"
    }


def test_no_value_at_all_is_no_crash() -> None:
    assert all(isinstance(part.sd, NotEstimated) for part in split_variance([]))


def test_of_very_many_values_some_patients_of_every_site_are_drawn() -> None:
    data = observed(7, sites=8, patients=200, organs=1, seeds=1, site=0.1, rest=0.05)
    found = parts(data)
    assert found["site"].levels == 8
    assert len(data) > LARGEST >= found["rest"].levels > LARGEST / 2
