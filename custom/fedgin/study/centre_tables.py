"""What a study says by centre: results at sites that trained and that did not, and what each site gives the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedgin.study.arm_result import ArmResult
from fedgin.study.centres import Centres, by_centre
from fedgin.study.plan import ArmSpec
from fedgin.study.statistics import gaps
from fedgin.study.tables import Group, Runs, group_of, group_runs
from fedgin.study.variance_split import Observation
from fedgin.train.evaluate.estimates import Estimate, Subject, mean_of
from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore

Results = Sequence[tuple[ArmSpec, ArmResult]]


@dataclass(frozen=True)
class CentreResult:
    """Dice by site of a group of runs.

    Attributes:
        group: the runs.
        unseen: each site was tested with the networks that were trained without it; else, with that of all sites.
        seeds: number of seeds.
        centres: sites and summary.
    """

    group: Group
    unseen: bool
    seeds: int
    centres: Centres


@dataclass(frozen=True)
class Contribution:
    """What the other sites lose without a site.

    Attributes:
        group: the runs.
        site: the site that is left out.
        loss: mean difference of Dice over the patients of the others, with the site minus without it.
        sites: number of the others.
        seeds: number of seeds.
    """

    group: Group
    site: str
    loss: Estimate
    sites: int
    seeds: int


def centre_results(results: Results) -> list[CentreResult]:
    """Return Dice by site of every group; where sites were left out, at sites that the network has not seen too."""
    found = []
    groups, without = group_runs(results), _left_out(results)
    for group in dict.fromkeys([*groups, *without]):
        if runs := groups.get(group):
            values = subject_values(_trained(group, runs))
            found.append(CentreResult(group, False, len(runs.by_seed), by_centre(values)))
        if group in without:
            seeds = max(len(left.by_seed) for left in without[group].values())
            found.append(CentreResult(group, True, seeds, by_centre(_unseen(without[group]))))
    return found


def contributions(results: Results) -> list[Contribution]:
    """Return what the others lose without each site, on the seeds that have both runs."""
    groups = group_runs(results)
    found = []
    for group, without in _left_out(results).items():
        whole = groups.get(group, Runs())
        for site, runs in without.items():
            seeds = [seed for seed in runs.by_seed if seed in whole.by_seed]
            both = [
                subject_values(score for score in _trained(group, own, seeds) if score.site != site)
                for own in (whole, runs)
            ]
            if seeds and both[0]:
                loss = gaps(*both)
                found.append(Contribution(group, site, mean_of(loss), len({name for name, _ in loss}), len(seeds)))
    return found


def observations(results: Results, group: Group) -> list[Observation]:
    """Return the Dice of every patient's organs with every seed of a group's runs with all sites, at these."""
    runs, found = group_runs(results).get(group, Runs()), []
    for seed in runs.by_seed:
        scores = _trained(group, runs, [seed])
        for organ in dict.fromkeys(score.organ for score in scores):
            for (site, subject), dice in subject_values(scores, organ=organ).items():
                found.append(Observation(site, subject, organ, seed, dice))
    return found


def _left_out(results: Results) -> dict[Group, dict[str, Runs]]:
    found: dict[Group, dict[str, Runs]] = {}
    for spec, result in results:
        if spec.without:
            found.setdefault(group_of(spec), {}).setdefault(spec.without, Runs()).by_seed[spec.seed] = result
    return found


def _trained(group: Group, runs: Runs, seeds: Sequence[int] | None = None) -> list[CaseScore]:
    """Return scores at the sites of the modalities that train."""
    modalities = group.regime.modalities
    return [score for score in runs.scores(seeds) if score.modality in modalities]


def _unseen(without: Mapping[str, Runs]) -> dict[Subject, float]:
    found: dict[Subject, float] = {}
    for site, runs in without.items():
        found |= subject_values(score for score in runs.scores() if score.site == site)
    return found
