"""What a study says by centre: results at sites that trained and that did not, and what each site gives the others.

An organ that one site alone teaches is no organ of the runs without it. Means of different organs say nothing about a
site, so that runs are compared over what both of them scored.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
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
        untaught: by site, the organs that are in no mean there, because nobody teaches them without it.
    """

    group: Group
    unseen: bool
    seeds: int
    centres: Centres
    untaught: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Contribution:
    """What the other sites lose without a site.

    Attributes:
        group: the runs.
        site: the site that is left out.
        loss: mean difference of Dice over the patients of the others, with the site minus without it.
        sites: number of the others.
        seeds: number of seeds.
        untaught: organs of the others that are not in the loss, because nobody teaches them without the site.
    """

    group: Group
    site: str
    loss: Estimate
    sites: int
    seeds: int
    untaught: tuple[str, ...]


def centre_results(results: Results) -> list[CentreResult]:
    """Return Dice by site of every group; where sites were left out, at sites that the network has not seen too."""
    found = []
    groups, left_out = group_runs(results), _left_out(results)
    for group in dict.fromkeys([*groups, *left_out]):
        without = left_out.get(group, {})
        untaught = _untaught([groups.get(group, Runs()), *without.values()], without)
        if runs := groups.get(group):
            scores = (score for score in _trained(group, runs) if score.organ not in untaught.get(score.site, ()))
            found.append(CentreResult(group, False, len(runs.by_seed), by_centre(subject_values(scores)), untaught))
        if without:
            seeds = max(len(left.by_seed) for left in without.values())
            found.append(CentreResult(group, True, seeds, by_centre(_unseen(without)), untaught))
    return found


def contributions(results: Results) -> list[Contribution]:
    """Return what the others lose without each site, on the seeds that have both runs, over the organs of both."""
    groups = group_runs(results)
    return [
        found
        for group, without in _left_out(results).items()
        for site, runs in without.items()
        if (found := _contribution(group, site, groups.get(group, Runs()), runs))
    ]


def _contribution(group: Group, site: str, whole: Runs, without: Runs) -> Contribution | None:
    """Return what the others lose without a site; nothing where no seed or no organ has both runs."""
    seeds = [seed for seed in without.by_seed if seed in whole.by_seed]
    both = [[score for score in _trained(group, runs, seeds) if score.site != site] for runs in (whole, without)]
    before, after = map(_pairs, both)
    shared = before.keys() & after.keys()
    if not shared:
        return None
    loss = gaps(*(subject_values(score for score in own if (score.site, score.organ) in shared) for own in both))
    untaught = tuple(dict.fromkeys(pair[1] for pair in before if pair not in shared))
    return Contribution(group, site, mean_of(loss), len({name for name, _ in loss}), len(seeds), untaught)


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


def _untaught(every: Iterable[Runs], without: Mapping[str, Runs]) -> dict[str, tuple[str, ...]]:
    """Return the organs that a site shows, as some run scored them, and that the runs without it have not."""
    shown = _pairs(score for runs in every for score in runs.scores())
    found = {}
    for site, runs in without.items():
        taught = {score.organ for score in runs.scores()}
        found[site] = tuple(organ for name, organ in shown if name == site and organ not in taught)
    return {site: organs for site, organs in found.items() if organs}


def _pairs(scores: Iterable[CaseScore]) -> dict[tuple[str, str], None]:
    """Return each site with each organ that a patient of it shows, once, in the order of the scores."""
    return {(score.site, score.organ): None for score in scores if not math.isnan(score.dice)}
