"""From the scores of a site's cases to what the site tells of them."""

import math
from collections.abc import Iterable, Sequence

from fedgin.data.site import SiteContract
from fedgin.data.small_groups import MIN_GROUP, TAIL_GROUP, suppress
from fedgin.train.evaluate.estimates import Estimate, mean_of
from fedgin.train.evaluate.patient_values import MEASURES, subject_values
from fedgin.train.evaluate.scores import CaseScore
from fedgin.train.evaluate.site_scores import CaseRow, OrganScores, SiteScores

# What the organs of one case scored, in the order of the organs: an order of cases that is made of nothing else.
Values = tuple[tuple[str, float, float, float], ...]


def summarise_site(scores: Sequence[CaseScore], contract: SiteContract, organs: Sequence[str]) -> SiteScores:
    """Return the means of a site by organ, and rows by case where the site agreed to them.

    A site that does not show its cases shows no number of fewer than :data:`~fedgin.data.small_groups.MIN_GROUP`
    patients either: an organ that so few show is in no mean, not even in that over organs. Nor does it tell an interval
    over fewer than :data:`~fedgin.data.small_groups.TAIL_GROUP` patients: the ends of one over three are the smallest
    and the largest of the three values, and the mean gives the third.

    Args:
        scores: of the test cases, with surfaces compared.
        contract: of the site.
        organs: of the experiment.
    """
    shown = {organ: len(subject_values(scores, organ=organ)) for organ in organs}
    least, tails = (1, 1) if contract.share_case_scores else (MIN_GROUP, TAIL_GROUP)
    told = [organ for organ in organs if shown[organ] >= least]
    total = len({score.subject for score in scores})
    count = _exact if contract.share_case_scores else suppress
    kept = [score for score in scores if score.organ in told]
    return SiteScores(
        modality=contract.modality,
        patients=count(total),
        mean=_estimate(kept, None, count(len(subject_values(kept)), total), tails) if told else None,
        organs={organ: _estimate(kept, organ, count(shown[organ], total), tails) for organ in told},
        unlabelled=tuple(organ for organ in organs if organ not in contract.labels),
        absent=tuple(organ for organ in organs if organ in contract.labels and not shown[organ]),
        withheld=tuple(organ for organ in organs if 0 < shown[organ] < least),
        rows=_rows(scores, organs) if contract.share_case_scores else None,
    )


def _exact(count: int, total: int | None = None) -> int:
    return count


def _estimate(scores: Sequence[CaseScore], organ: str | None, patients: int | str, tails: int) -> OrganScores:
    means = {measure: mean_of(subject_values(scores, organ=organ, measure=measure)) for measure in MEASURES}
    told = {measure: _mean(mean, interval=mean.cases >= tails) for measure, mean in means.items()}
    return OrganScores.model_validate({"patients": patients} | told)


def _mean(estimate: Estimate, *, interval: bool) -> dict[str, float]:
    return {"value": estimate.value} | ({"low": estimate.low, "high": estimate.high} if interval else {})


def _rows(scores: Iterable[CaseScore], organs: Sequence[str]) -> tuple[CaseRow, ...]:
    """Number patients and cases by their scores alone: the order of the site's list, or of time, is not in it."""
    patients: dict[int, dict[int, list[CaseScore]]] = {}
    for score in scores:
        if not math.isnan(score.dice):
            patients.setdefault(score.subject, {}).setdefault(score.case, []).append(score)
    ordered = sorted(
        (sorted((_values(case, organs) for case in cases.values()), key=_rank) for cases in patients.values()),
        key=lambda cases: [_rank(case) for case in cases],
    )
    return tuple(
        CaseRow(patient=patient, case=case, organ=organ, dice=dice, hd95_mm=hd95, surface_dice=surface)
        for patient, cases in enumerate(ordered, start=1)
        for case, values in enumerate(cases, start=1)
        for organ, dice, hd95, surface in values
    )


def _values(scores: Iterable[CaseScore], organs: Sequence[str]) -> Values:
    return tuple(
        (score.organ, round(score.dice, 4), round(score.hd95_mm, 4), round(score.surface_dice, 4))
        for score in sorted(scores, key=lambda score: organs.index(score.organ))
    )


def _rank(case: Values) -> tuple[float, Values]:
    return -sum(dice for _, dice, _, _ in case) / len(case), case
