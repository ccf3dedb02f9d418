"""A comparison's scores as CSV, and its main table: from the scores alone, so that a shipped table can be checked."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedgin.study.arm_result import ArmResult
from fedgin.study.arms import PooledArm
from fedgin.study.conclusion import ScoredArm, conclude
from fedgin.train.evaluate.estimates import Estimate, mean_of
from fedgin.train.evaluate.patient_values import subject_values
from fedgin.train.evaluate.scores import CaseScore

COLUMNS = ("arm", "trained_on", "site", "modality", "subject", "case", "organ", "dice", "hd95_mm", "surface_dice")
MEAN = "mean of organs"


@dataclass(frozen=True)
class OrganRow:
    """A row of the main table: one organ (or the mean) of one modality, an estimate for each arm."""

    modality: str
    organ: str
    cells: list[Estimate]

    @property
    def best(self) -> float:
        """Largest mean of the row."""
        return max(cell.value for cell in self.cells)


def scored_arms(results: Sequence[ArmResult], modalities: Sequence[str]) -> list[ScoredArm]:
    """Return the arms with what they trained on: a federated one on all ``modalities``."""
    return [
        ScoredArm(
            result.arm.title,
            tuple(result.arm.modalities) if isinstance(result.arm, PooledArm) else tuple(modalities),
            result.scores,
        )
        for result in results
    ]


def dice_table(arms: Sequence[ScoredArm]) -> list[OrganRow]:
    """Return the main table: for each modality the mean over organs, then each organ, with intervals over patients."""
    rows = []
    for modality in sorted({score.modality for score in arms[0].scores}):
        shown = [score.organ for score in arms[0].scores if score.modality == modality]
        for organ in [None, *dict.fromkeys(shown)]:
            values = [subject_values(arm.scores, modality=modality, organ=organ) for arm in arms]
            if all(values):
                rows.append(OrganRow(modality, organ or MEAN, [mean_of(patients) for patients in values]))
    return rows


def table_text(arms: Sequence[ScoredArm]) -> str:
    """Return conclusion and main table as Markdown."""
    lines = [
        f"| modality | organ | patients | {' | '.join(arm.title for arm in arms)} |",
        "|---|---|---|" + "---|" * len(arms),
    ]
    for row in dice_table(arms):
        cells = [f"{cell.value:.3f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in row.cells]
        organ = row.organ.replace("_", " ")
        lines.append(f"| {row.modality} | {organ} | {row.cells[0].cases} | {' | '.join(cells)} |")
    return f"**{conclude(arms)}**\n\n" + "\n".join(lines) + "\n"


def scores_text(arms: Sequence[ScoredArm]) -> str:
    """Return every score of every arm as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for arm in arms:
        for score in arm.scores:
            case = [score.site, score.modality, score.subject, score.case, score.organ]
            values = (score.dice, score.hd95_mm, score.surface_dice)
            writer.writerow([arm.title, "+".join(arm.trained_on), *case, *(f"{value:.6g}" for value in values)])
    return text.getvalue()


def read_scores_text(path: Path) -> list[ScoredArm]:
    """Read what :func:`scores_text` returned; volumes are not in it."""
    found: dict[str, ScoredArm] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            arm = found.setdefault(row["arm"], ScoredArm(row["arm"], tuple(row["trained_on"].split("+")), []))
            nan = float("nan")
            score = CaseScore(
                *(row["site"], row["modality"], "test", int(row["case"]), int(row["subject"]), row["organ"]),
                *(float(row["dice"]), nan, nan, float(row["hd95_mm"]), float(row["surface_dice"])),
            )
            found[row["arm"]] = ScoredArm(arm.title, arm.trained_on, [*arm.scores, score])
    return list(found.values())
