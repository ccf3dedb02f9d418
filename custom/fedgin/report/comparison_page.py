"""Write a comparison as one offline HTML page."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import torch

from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData
from fedgin.files import write_text
from fedgin.report.figures import busiest_slice, draw_curves, draw_predictions
from fedgin.study.arm_result import ArmResult, Comparison, load_network
from fedgin.study.arms import cases_by_modality
from fedgin.study.patient_values import subject_values
from fedgin.study.statistics import Estimate, mean_of


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


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write the page, which needs no other file and no network; return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedgin.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["words"] = lambda name: name.replace("_", " ")
    write_text(path, environment.get_template("report.html").render(_context(comparison)))
    return path


def dice_table(results: Sequence[ArmResult]) -> list[OrganRow]:
    """Return the main table: for each modality the mean over organs, then each organ, with intervals over cases."""
    rows = []
    for modality in sorted({score.modality for score in results[0].scores}):
        shown = [score.organ for score in results[0].scores if score.modality == modality]
        for organ in [None, *dict.fromkeys(shown)]:
            values = [subject_values(result.scores, modality=modality, organ=organ) for result in results]
            if all(values):
                rows.append(OrganRow(modality, organ or "mean of organs", [mean_of(patients) for patients in values]))
    return rows


def _context(comparison: Comparison) -> dict[str, Any]:
    results = comparison.results
    modalities = sorted({score.modality for score in results[0].scores})
    return {
        "comparison": comparison,
        "rows": dice_table(results),
        "curves": draw_curves({result.arm.title: result.curve for result in results}, modalities),
        "overlays": _draw_overlays(comparison),
        "sites": [_describe_site(site) for site in comparison.sites.values()],
        "federated": [result.arm for result in results if result.cross_site],
        "cross_site": {result.arm.title: cross_site_dice(result.cross_site) for result in results if result.cross_site},
        "settings": results[-1].arm.experiment.model_dump(mode="json"),
        "versions": _versions(),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _draw_overlays(comparison: Comparison) -> str:
    test = cases_by_modality(comparison.sites, Split.TEST)
    shown = [busiest_slice(cases[0]) for _, cases in sorted(test.items())]
    experiment = comparison.results[-1].arm.experiment
    augmentation = experiment.build_augmentation()
    networks = [
        {item.arm.title: load_network(item.arm, item.model, entry.case.case.site).eval() for item in comparison.results}
        for entry in shown
    ]
    return draw_predictions(shown, networks, augmentation, seed=experiment.seed)


def _describe_site(site: SiteData) -> dict[str, Any]:
    return {
        "name": site.contract.site,
        "modality": site.contract.modality.value,
        "cases": {split.value: len(cases) for split, cases in site.cases.items()},
        "slices": site.training_slices,
        "organs": site.cases[Split.TRAINING][0].labelled,
    }


def cross_site_dice(cross_site: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Return site -> model -> mean Dice; the metric's prefix says which split the site could use."""
    table: dict[str, dict[str, float]] = {}
    for site, models in cross_site.items():
        for model, metrics in models.items():
            split = "test" if "test_dice_mean" in metrics else "val"
            table.setdefault(site, {})[model] = metrics.get(f"{split}_dice_mean", math.nan)
    return table


def _versions() -> dict[str, str]:
    return {
        **{package: version(package) for package in ("fedgin", "nvflare", "monai", "torch")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
