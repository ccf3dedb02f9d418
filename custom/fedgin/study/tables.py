"""The tables of a study: what each group of runs reached, and how groups compare."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fedgin.study.arm_result import ArmResult
from fedgin.study.centres import Centres, by_centre
from fedgin.study.plan import ArmSpec, Regime
from fedgin.study.population import Population
from fedgin.study.statistics import PairedTest, equivalence, gaps, mean_ranks, paired_tests, ratio_of
from fedgin.train.evaluate.estimates import Estimate, Subject, mean_of
from fedgin.train.evaluate.patient_values import MEASURES, subject_values
from fedgin.train.evaluate.scores import CaseScore

REFERENCE = "gin"


@dataclass(frozen=True, order=True)
class Group:
    """Runs that differ in their seed alone."""

    population: Population
    regime: Regime
    method: str


@dataclass
class Runs:
    """The runs of a group, by seed."""

    by_seed: dict[int, ArmResult] = field(default_factory=dict)

    def scores(self, seeds: Sequence[int] | None = None) -> list[CaseScore]:
        """Return the scores of some seeds, by default of all."""
        return [score for seed, run in self.by_seed.items() if seeds is None or seed in seeds for score in run.scores]


@dataclass(frozen=True)
class Cell:
    """A group's number and the seeds behind it."""

    estimate: Estimate
    seeds: int


@dataclass(frozen=True)
class Test:
    """One comparison of the reference method with another.

    Attributes:
        population: of both.
        regime: of both.
        method: the other one.
        test: over patients.
        difference: of Dice, reference minus the other, over patients.
        seeds: number of seeds.
        equivalent: p-value of the test that both are equivalent.
        centres: the difference by site.
    """

    population: Population
    regime: Regime
    method: str
    test: PairedTest
    difference: Estimate
    seeds: int
    equivalent: float
    centres: Centres


Groups = dict[Group, Runs]


def group_runs(results: Sequence[tuple[ArmSpec, ArmResult]]) -> Groups:
    """Collect the runs in which all sites train by population, regime and method."""
    groups: Groups = {}
    for spec, result in results:
        if not spec.without:
            groups.setdefault(group_of(spec), Runs()).by_seed[spec.seed] = result
    return groups


def group_of(spec: ArmSpec) -> Group:
    """Return what a run shares with those that differ in their seed, or in the site left out."""
    return Group(spec.population, spec.regime, spec.method)


def modalities_of(groups: Groups) -> list[str]:
    """Return the modalities of the test cases."""
    return sorted({score.modality for runs in groups.values() for score in runs.scores()})


def organs_of(groups: Groups) -> list[str]:
    """Return the organs in the order of the experiment."""
    return list(dict.fromkeys(score.organ for runs in groups.values() for score in runs.scores()))


def level(runs: Runs, *, modality: str, organ: str | None = None, measure: str = "dice") -> Cell | None:
    """Return a group's mean over patients, or nothing where no patient shows the organ."""
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure}")
    values = subject_values(runs.scores(), modality=modality, organ=organ, measure=measure)
    return Cell(mean_of(values), len(runs.by_seed)) if values else None


def share_of_central(groups: Groups, group: Group, modality: str) -> Cell | None:
    """Return the group's Dice divided by that of centralised training with the same method and seeds.

    There is no cell where such a run is missing, and none where there is nothing to divide by: see :func:`ratio_of`.
    """
    if group.regime is not Regime.FEDERATED:
        return None
    return _compared(groups, group, Group(group.population, Regime.CENTRAL, group.method), modality)


def share_of_baseline(groups: Groups, group: Group, baseline: str, modality: str) -> Cell | None:
    """Return the group's Dice divided by the baseline's (such as ``mr_only none``); see :func:`share_of_central`."""
    regime, method = baseline.split()
    return _compared(groups, group, Group(group.population, Regime(regime), method), modality)


def _compared(groups: Groups, group: Group, other: Group, modality: str) -> Cell | None:
    seeds = common_seeds(groups, [group, other])
    if not seeds:
        return None
    first, second = (subject_values(groups[key].scores(seeds), modality=modality) for key in (group, other))
    # In a modality whose test patients do not show the organ of an arm there is nothing to compare.
    share = ratio_of(first, second) if first.keys() & second.keys() else None
    return Cell(share, len(seeds)) if share else None


def tests_of_reference(groups: Groups) -> list[Test]:
    """Test the reference method against every other one within each population and regime, over all test patients.

    Holm's correction is over the methods of one population and regime. Only seeds that both have are compared.
    """
    found = []
    for group in groups:
        if group.method == REFERENCE:
            found += _family(groups, group)
    return found


def _family(groups: Groups, reference: Group) -> list[Test]:
    family = [key for key in groups if key != reference and _same_place(key, reference)]
    seeds = {key.method: common_seeds(groups, [key, reference]) for key in family}
    apart = {key.method: _gaps(groups, reference, key, seeds[key.method]) for key in family if seeds[key.method]}
    apart = {method: values for method, values in apart.items() if values}
    family = [key for key in family if key.method in apart]
    tests = paired_tests(apart) if apart else {}
    return [
        Test(
            key.population,
            key.regime,
            key.method,
            tests[key.method],
            mean_of(apart[key.method]),
            len(seeds[key.method]),
            equivalence(apart[key.method]),
            by_centre(apart[key.method]),
        )
        for key in family
    ]


def _gaps(groups: Groups, first: Group, second: Group, seeds: Sequence[int]) -> dict[Subject, float]:
    values = [subject_values(groups[key].scores(seeds)) for key in (first, second)]
    return gaps(*values) if values[0].keys() & values[1].keys() else {}


def ranks(groups: Groups, population: Population, regime: Regime) -> dict[str, float]:
    """Return the methods' mean ranks over all test patients, 1 is best, on the seeds that all of them have."""
    keys = [key for key in groups if key.population == population and key.regime is regime]
    seeds = common_seeds(groups, keys)
    if len(keys) < 2 or not seeds:
        return {}
    values = {key.method: subject_values(groups[key].scores(seeds)) for key in keys}
    return mean_ranks(values) if set.intersection(*map(set, values.values())) else {}


def common_seeds(groups: Groups, keys: Sequence[Group]) -> list[int]:
    """Return the seeds that all the groups have."""
    if any(key not in groups for key in keys):
        return []
    return [seed for seed in groups[keys[0]].by_seed if all(seed in groups[key].by_seed for key in keys)]


def _same_place(key: Group, other: Group) -> bool:
    return (key.population, key.regime) == (other.population, other.regime)
