"""What a comparison found, in words: for each modality, the reference method beside every other arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedgin.study.statistics import gaps
from fedgin.train.evaluate.estimates import Subject, mean_of
from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore

VERDICTS = ("more than", "less than", "not clearly different from", "on one patient beside")


@dataclass(frozen=True)
class ScoredArm:
    """An arm with its test scores.

    Attributes:
        title: what a reader sees.
        trained_on: modalities of its training data.
        scores: of every test case of every site.
    """

    title: str
    trained_on: tuple[str, ...]
    scores: Sequence[CaseScore]


def conclude(arms: Sequence[ScoredArm]) -> str:
    """Return a sentence or two for each modality, whatever they say.

    The last arm is compared with each one that trained on the modality. It is better or worse where the 95 % bootstrap
    interval of the mean difference over patients is on one side of 0. Arms that never saw the modality are named apart.
    """
    modalities = sorted({score.modality for arm in arms for score in arm.scores}, reverse=True)
    return " ".join(sentence for modality in modalities if (sentence := _of_modality(arms, modality)))


def _of_modality(arms: Sequence[ScoredArm], modality: str) -> str:
    values = {arm.title: subject_values(arm.scores, modality=modality) for arm in arms}
    arms = [arm for arm in arms if values[arm.title]]
    if not arms:
        return ""
    reference = arms[-1]
    words: dict[str, list[str]] = {}
    for arm in arms[:-1]:
        if modality in arm.trained_on:
            verdict, text = _beside(values[reference.title], values[arm.title])
            words.setdefault(verdict, []).append(f"{arm.title} ({text})")
    clauses = [f"{verdict} {_and(words[verdict])}" for verdict in VERDICTS if verdict in words]
    said = f"On {modality} {reference.title} reaches a mean Dice of {_mean(values[reference.title]):.3f}"
    said += f": {', '.join(clauses)}." if clauses else "."
    blind = [f"{arm.title} {_mean(values[arm.title]):.3f}" for arm in arms if modality not in arm.trained_on]
    return said + (f" Without ever seeing {modality}: {_and(blind)}." if blind else "")


def _beside(reference: Mapping[Subject, float], other: Mapping[Subject, float]) -> tuple[str, str]:
    gap = mean_of(gaps(reference, other))
    text = f"{_mean(other):.3f}, difference {gap.value:+.3f}"
    if gap.cases == 1:
        return "on one patient beside", text
    text += f" [{gap.low:+.2f}, {gap.high:+.2f}]"
    if gap.low <= 0.0 <= gap.high:
        return "not clearly different from", text
    return ("more than" if gap.value > 0 else "less than"), text


def _mean(values: Mapping[Subject, float]) -> float:
    return sum(values.values()) / len(values)


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
