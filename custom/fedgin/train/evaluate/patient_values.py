"""From scores of cases and organs to one value a patient, which is what statistics are made of."""

import math
from collections.abc import Iterable, Sequence

from fedgin.train.evaluate.estimates import Subject
from fedgin.train.evaluate.scores import CaseScore

MEASURES = ("dice", "hd95_mm", "surface_dice")


def subject_values(
    scores: Iterable[CaseScore],
    *,
    modality: str | None = None,
    organ: str | None = None,
    measure: str = "dice",
) -> dict[Subject, float]:
    """Return one value a patient: the mean over its organs, each organ's mean over its cases and the runs given.

    Args:
        scores: the scores of one run, or of runs with several seeds, whose values are averaged.
        modality: only patients of it.
        organ: only this organ; patients who do not show it are left out.
        measure: ``dice``, ``hd95_mm`` or ``surface_dice``; NaN (the organ is absent) never enters a mean.
    """
    found: dict[Subject, dict[str, list[float]]] = {}
    for score in scores:
        value = float(getattr(score, measure))
        if modality in (None, score.modality) and organ in (None, score.organ) and not math.isnan(value):
            organs = found.setdefault((score.site, score.subject), {})
            organs.setdefault(score.organ, []).append(value)
    return {subject: _mean([_mean(values) for values in organs.values()]) for subject, organs in found.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
