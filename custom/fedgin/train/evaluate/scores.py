"""Scores per case and organ, and how they are averaged. An organ that a case does not show never enters a mean."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from fedgin.errors import DataError
from fedgin.files import write_text


@dataclass(frozen=True)
class CaseScore:
    """One organ of one case.

    Attributes:
        site: name of the site.
        modality: the modality of the site.
        split: the split of the case.
        case: its number in the split.
        subject: number of its patient in the split, from 1; cases of one patient, such as slices, share it.
        organ: name of the organ.
        dice: on the image's own grid, 0 to 1; NaN where the reference does not show the organ.
        reference_ml: volume of the organ in the reference.
        predicted_ml: volume of the organ in the prediction; where the reference has none, all of it is false.
        hd95_mm: see :class:`~fedgin.train.evaluate.surface_metrics.SurfaceScore`; NaN where surfaces were not compared.
        surface_dice: the same, at 2 mm.
    """

    site: str
    modality: str
    split: str
    case: int
    subject: int
    organ: str
    dice: float
    reference_ml: float
    predicted_ml: float
    hd95_mm: float = math.nan
    surface_dice: float = math.nan


def mean_dice_by_organ(scores: Iterable[CaseScore]) -> dict[str, float]:
    """Average the Dice of each organ over the cases that show it; organs that no case shows are left out.

    Example:
        >>> liver = CaseScore("a", "CT", "test", 1, 1, "liver", dice=0.9, reference_ml=1500.0, predicted_ml=1450.0)
        >>> absent = CaseScore("a", "CT", "test", 2, 2, "liver", dice=math.nan, reference_ml=0.0, predicted_ml=3.0)
        >>> mean_dice_by_organ([liver, absent])
        {'liver': 0.9}
    """
    found: dict[str, list[float]] = {}
    for score in scores:
        if not math.isnan(score.dice):
            found.setdefault(score.organ, []).append(score.dice)
    return {organ: sum(values) / len(values) for organ, values in found.items()}


def mean_dice(scores: Sequence[CaseScore]) -> float:
    """Average the organs' mean Dice, each organ counting the same.

    Raises:
        DataError: no case shows any organ, so that there is no mean; a 0 or NaN would pass for a result.

    Example:
        >>> def score(organ: str, dice: float) -> CaseScore:
        ...     return CaseScore("a", "CT", "test", 1, 1, organ, dice, reference_ml=100.0, predicted_ml=100.0)
        >>> mean_dice([score("liver", 1.0), score("liver", 0.5), score("spleen", 0.25)])  # organs count the same
        0.5
    """
    by_organ = mean_dice_by_organ(scores)
    if not by_organ:
        raise DataError("no case shows any organ, so there is no Dice", "check the labels of the evaluated split")
    return sum(by_organ.values()) / len(by_organ)


def summarise(scores: Sequence[CaseScore], prefix: str) -> dict[str, float]:
    """Return flat metrics such as ``val_dice_mean``, ``val_dice_liver`` and ``val_cases``, fit to leave the site."""
    metrics = {
        f"{prefix}_dice_mean": mean_dice(scores),
        f"{prefix}_cases": float(len({score.case for score in scores})),
    }
    return metrics | {f"{prefix}_dice_{organ}": value for organ, value in mean_dice_by_organ(scores).items()}


def write_scores(path: Path, scores: Sequence[CaseScore]) -> None:
    """Write scores as CSV, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(CaseScore)])
    writer.writerows([_as_row(score) for score in scores])
    write_text(path, text.getvalue())


def read_scores(path: Path) -> list[CaseScore]:
    """Read what :func:`write_scores` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_from_row(row) for row in csv.DictReader(file)]


def _from_row(row: dict[str, str]) -> CaseScore:
    types: dict[str, Callable[[str], Any]] = get_type_hints(CaseScore)
    return CaseScore(**{name: parse(row[name]) for name, parse in types.items()})


def _as_row(score: CaseScore) -> list[str]:
    return [f"{value:.6g}" if isinstance(value, float) else str(value) for value in astuple(score)]
