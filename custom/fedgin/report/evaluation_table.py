"""The scores of a bundle's model by organ and site: as rows for a page or a terminal, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedgin.data.site import Modality
from fedgin.data.small_groups import TAIL_GROUP
from fedgin.train.evaluate.site_scores import NOT_TOLD, MeanDistance, MeanShare, OrganScores, SiteScores

MEAN = "mean of organs"
# Under a table with such a cell.
LEGEND = f"{NOT_TOLD}: a site that does not show its cases tells no interval over fewer than {TAIL_GROUP} patients"
MEASURES = {
    "dice": "Dice",
    "surface_dice": "Surface Dice at 2 mm",
    "hd95_mm": "95th percentile of surface distances (HD95), mm",
}
Scores = Mapping[str, SiteScores]


@dataclass(frozen=True)
class Cell:
    """What one site, or all sites of a modality, scored of one organ.

    Attributes:
        mean: of what the site told; none where there is no score.
        reason: why there is none.
        value: the mean, also over sites; none where there is no score.
        patients: who show the organ; empty for a mean over sites.
    """

    mean: MeanShare | MeanDistance | None = None
    reason: str = ""
    value: float | None = None
    patients: str = ""

    def text(self, digits: int = 3) -> str:
        """Return the cell as a page or a terminal shows it; a mean over sites has no interval."""
        if self.value is None:
            return self.reason or "-"
        if self.mean is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} {self.mean.interval(digits - 1)}"


@dataclass(frozen=True)
class Row:
    """One organ, or the mean over organs, at each site and then over the sites of each modality."""

    organ: str
    cells: list[Cell]


def pooled_modalities(scores: Scores) -> list[Modality]:
    """Return the modalities of more than one site, for which a mean over sites says something."""
    found = [site.modality for site in scores.values()]
    return [modality for modality in Modality if found.count(modality) > 1]


def site_table(scores: Scores, organs: Sequence[str], measure: str = "dice") -> list[Row]:
    """Return the rows of one measure: the mean over organs first.

    Args:
        scores: by site.
        organs: of the model.
        measure: one of :data:`MEASURES`.
    """
    rows = []
    for organ in (MEAN, *organs):
        cells = {name: _cell(site, organ, measure) for name, site in scores.items()}
        over_sites = [
            _mean_over_sites([cells[name] for name, site in scores.items() if site.modality is modality])
            for modality in pooled_modalities(scores)
        ]
        rows.append(Row(organ, [*cells.values(), *over_sites]))
    return rows


def _cell(site: SiteScores, organ: str, measure: str) -> Cell:
    found: OrganScores | None = site.mean if organ == MEAN else site.organs.get(organ)
    if found is None:
        reasons = {"not labelled": site.unlabelled, "in no case": site.absent, "withheld": site.withheld}
        return Cell(reason=next((reason for reason, organs in reasons.items() if organ in organs), ""))
    mean: MeanShare | MeanDistance = getattr(found, measure)
    return Cell(mean, "", mean.value, str(found.patients))


def _mean_over_sites(cells: Sequence[Cell]) -> Cell:
    values = [cell.value for cell in cells if cell.value is not None]
    return Cell(value=fmean(values)) if values else Cell()


def site_scores_text(scores: Scores) -> str:
    """Return all means as CSV, one row for each site, organ and measure; an interval that was not told is empty."""
    rows = [
        (name, site.modality, organ, found.patients, measure, *_numbers(getattr(found, measure)))
        for name, site in scores.items()
        for organ, found in {MEAN: site.mean, **site.organs}.items()
        if found is not None
        for measure in MEASURES
    ]
    return _csv(("site", "modality", "organ", "patients", "measure", "mean", "low", "high"), rows)


def case_scores_text(scores: Scores) -> str:
    """Return the scores of the cases of those sites that show them, as CSV; empty when no site does."""
    rows = [
        (name, site.modality, *row.model_dump().values()) for name, site in scores.items() for row in site.rows or ()
    ]
    columns = ("site", "modality", "patient", "case", "organ", "dice", "hd95_mm", "surface_dice")
    return _csv(columns, rows) if rows else ""


def _numbers(mean: MeanShare | MeanDistance) -> tuple[str, str, str]:
    value, low, high = ("" if number is None else f"{number:.6g}" for number in (mean.value, mean.low, mean.high))
    return value, low, high


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
