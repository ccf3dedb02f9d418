"""Write a study: every score as CSV, the tables as Markdown, and tables with pictures as one offline HTML page."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.files import write_text
from fedgin.page import Verdict, in_words, template_environment, write_page
from fedgin.report.centre_section import centre_section
from fedgin.report.comparison_page import dice_note
from fedgin.report.draws import show_draws
from fedgin.report.figures import draw_curves, validation_titles, write_curves
from fedgin.report.overlays import (
    Panel,
    Shown,
    ShownCase,
    busiest_slice,
    organ_colours,
    predict_slice,
    show_case,
)
from fedgin.report.populations import heading, suffix
from fedgin.study import tables
from fedgin.study.arm_result import ArmResult, load_network
from fedgin.study.arms import Curve, cases_by_modality
from fedgin.study.plan import ArmSpec, Regime, Study, load_study
from fedgin.study.planned_arm import StudySites
from fedgin.study.population import Population
from fedgin.study.statistics import MARGIN
from fedgin.study.tables import Cell, Group, Groups

Results = Sequence[tuple[ArmSpec, ArmResult]]

COLUMNS = [
    *("arm", "regime", "method", "patients", "seed", "without", "site", "modality", "subject", "case", "organ"),
    *("dice", "hd95_mm", "surface_dice_2mm"),
]

SIGNIFICANT = 0.05
# Above tables of shares.
DASH = "A dash: there is no such run, or the Dice to divide by is 0, of all test patients or in a resample of them."
DRAWS = 4
TITLES = {"dice": "Dice", "hd95_mm": "HD95 in mm", "surface_dice": "surface Dice at 2 mm"}


@dataclass(frozen=True)
class Line:
    """A row of a table: a method and one cell for each column; a cell is empty where there was no such run."""

    method: str
    cells: list[Cell | None]

    @property
    def seeds(self) -> int | None:
        """The seeds behind every cell; nothing where they differ."""
        return _shared(cell.seeds for cell in self.cells if cell)


@dataclass(frozen=True)
class Table:
    """A table of one population: what stands above it, columns and lines; numbers have so many ``digits``."""

    title: str
    columns: list[str]
    lines: list[Line]
    digits: int = 3

    @property
    def patients(self) -> list[int | None]:
        """For each column, the patients behind every cell; nothing where they differ."""
        columns = [[line.cells[place] for line in self.lines] for place in range(len(self.columns))]
        return [_shared(cell.estimate.cases for cell in cells if cell) for cells in columns]


def write_study(source: Path, results: Results, out: Path) -> Path:
    """Write ``scores.csv``, ``tables.md``, ``pictures/curves.png`` and ``report.html``.

    Args:
        source: the ``study.yaml``.
        results: the results of its arms, or of some.
        out: folder of the study.

    Returns:
        path of the page.
    """
    study = load_study(source)
    sites = StudySites(study, out)
    missing = len(sites.arms()) - len(results)
    write_text(out / "scores.csv", _csv(results))
    write_text(out / "tables.md", tables_text(study, results, missing))
    curves, modalities = _curves(results)
    write_curves(out / "pictures" / "curves.png", curves, modalities)
    content = _context(study, results, missing) | {
        "verdict": _verdict(results),
        "curves": draw_curves(curves, modalities),
        "shown": _overlays(sites, results),
        "drawn": _named(_drawn(results)[0].method),
        "colours": organ_colours(_organs(results)),
        "settings": study.model_dump(mode="json", include={"rounds", "settings", "methods", "baseline"}),
    }
    return write_page(out / "report.html", "study.html", "fedgin.report", content)


def tables_text(study: Study, results: Results, missing: int = 0) -> str:
    """Return the study's tables as Markdown; ``missing`` is the number of arms without a result."""
    content = _context(study, results, missing) | {"written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    return template_environment("fedgin.report").get_template("study.md").render(content)


def _verdict(results: Results) -> Verdict:
    """Count what the tests of the reference method say."""
    groups = tables.group_runs(results)
    tests, name = tables.tests_of_reference(groups), tables.REFERENCE.upper()
    methods = {spec.method for spec, _ in results}
    if tables.REFERENCE not in methods:
        return Verdict(
            f"No method is called {tables.REFERENCE}, so that nothing is tested. The tables have what was measured."
        )
    if len(methods) == 1:
        return Verdict(f"There is no method beside {name} to compare it with.")
    if not tests:
        return Verdict(f"{name} cannot be compared: no other method has a seed and a test patient in common with it.")
    clear = [item for item in tests if item.test.adjusted < SIGNIFICANT]
    better = sum(item.test.direction > 0 for item in clear)
    equivalent = sum(item.equivalent < SIGNIFICANT for item in tests if item not in clear)
    return Verdict(
        f"{name} is better than another method in {better} of {len(tests)} comparisons, worse in "
        f"{len(clear) - better}, and not clearly different in {len(tests) - len(clear)} (p after Holm's correction "
        f"below {SIGNIFICANT}). Of the latter, {equivalent} are equivalent: they differ by less than {MARGIN}."
    )


def _csv(results: Results) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for spec, result in results:
        arm = [spec.name, spec.regime.value, spec.method, spec.population, spec.seed, spec.without]
        for score in result.scores:
            case = [score.site, score.modality, score.subject, score.case, score.organ]
            values = (score.dice, score.hd95_mm, score.surface_dice)
            writer.writerow([*arm, *case, *(f"{value:.5g}" for value in values)])
    return text.getvalue()


def _context(study: Study, results: Results, missing: int) -> dict[str, Any]:
    groups = tables.group_runs(results)
    populations = list(dict.fromkeys(group.population for group in groups))
    return {
        "study": study,
        "levels": [_levels(groups, population) for population in populations],
        "organs": [table for population in populations for table in _organ_tables(groups, population)],
        "of_central": [table for population in populations if (table := _shares_of_central(groups, population)).lines],
        "of_baseline": [_shares_of_baseline(groups, population, study.baseline) for population in populations],
        "tests": tables.tests_of_reference(groups),
        "reference": tables.REFERENCE,
        "ranks": _ranks(groups, populations),
        "runs": len(results),
        "missing": missing,
        "precisions": sorted({result.precision for _, result in results if result.precision}),
        "centres": centre_section(results),
        "margin": MARGIN,
        "dash": DASH,
        "suffix": suffix,
    }


def _levels(groups: Groups, population: Population) -> Table:
    """Mean Dice of organs: a line a method, a column for each modality and regime."""
    columns = list(product(tables.modalities_of(groups), _regimes(groups, population)))
    lines = [
        Line(method, [_level(groups, Group(population, regime, method), modality) for modality, regime in columns])
        for method in _methods(groups, population)
    ]
    return Table(heading(population), [f"{modality}, {in_words(regime)}" for modality, regime in columns], lines)


def _organ_tables(groups: Groups, population: Population) -> list[Table]:
    """One table for each modality and regime: a line a method, a column an organ, for each measure."""
    places = product(tables.modalities_of(groups), _regimes(groups, population), TITLES)
    return [
        _organ_table(groups, Group(population, regime, ""), modality, measure) for modality, regime, measure in places
    ]


def _organ_table(groups: Groups, place: Group, modality: str, measure: str) -> Table:
    alike = {key: runs for key, runs in groups.items() if key.population == place.population}
    organs = [organ for organ in tables.organs_of(alike) if _is_shown(alike, modality, organ)]
    lines = [
        Line(method, [_level(groups, key, modality, organ, measure) for organ in organs])
        for method in _methods(groups, place.population)
        if (key := Group(place.population, place.regime, method)) in groups
    ]
    title = f"{TITLES[measure]}, {modality}, {in_words(place.regime)}" + suffix(place.population)
    return Table(title, [in_words(organ) for organ in organs], lines, digits=1 if measure == "hd95_mm" else 3)


def _shares_of_central(groups: Groups, population: Population) -> Table:
    """Dice of the methods that have both regimes, with a seed in common."""
    modalities = tables.modalities_of(groups)
    keys = [Group(population, Regime.FEDERATED, method) for method in _methods(groups, population)]
    lines = [
        Line(key.method, [tables.share_of_central(groups, key, modality) for modality in modalities])
        for key in keys
        if key in groups
    ]
    return Table(heading(population), modalities, [line for line in lines if any(line.cells)])


def _shares_of_baseline(groups: Groups, population: Population, baseline: str) -> Table:
    """The baseline's own modality is where it can be compared: ``mr_only`` on MR, ``ct_only`` on CT, else all."""
    own = baseline.split("_only")[0].upper()
    modalities = [own] if own in tables.modalities_of(groups) else tables.modalities_of(groups)
    columns = list(product(modalities, _regimes(groups, population)))
    lines = [
        Line(
            method,
            [
                tables.share_of_baseline(groups, Group(population, regime, method), baseline, modality)
                for modality, regime in columns
            ],
        )
        for method in _methods(groups, population)
    ]
    return Table(heading(population), [f"{modality}, {in_words(regime)}" for modality, regime in columns], lines)


def _ranks(groups: Groups, populations: Sequence[Population]) -> list[tuple[str, dict[str, float]]]:
    found = []
    for population in populations:
        for regime in _regimes(groups, population):
            ranks = tables.ranks(groups, population, regime)
            if ranks:
                place = in_words(regime) + suffix(population)
                found.append((place, dict(sorted(ranks.items(), key=lambda item: item[1]))))
    return found


def _level(groups: Groups, key: Group, modality: str, organ: str | None = None, measure: str = "dice") -> Cell | None:
    return tables.level(groups[key], modality=modality, organ=organ, measure=measure) if key in groups else None


def _is_shown(groups: Groups, modality: str, organ: str) -> bool:
    return any(_level(groups, key, modality, organ) for key in groups)


def _methods(groups: Groups, population: Population) -> list[str]:
    return list(dict.fromkeys(group.method for group in groups if group.population == population))


def _regimes(groups: Groups, population: Population) -> list[Regime]:
    return [regime for regime in Regime if any((g.population, g.regime) == (population, regime) for g in groups)]


def _shared(values: Iterable[int]) -> int | None:
    """Return the one value that all are, or nothing."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _shown_arms(results: Results) -> dict[str, tuple[ArmSpec, ArmResult]]:
    """Return each method's federated run with its first seed; another regime's, and named so, where there is none."""
    shown: dict[str, tuple[str, tuple[ArmSpec, ArmResult]]] = {}
    for regime in (Regime.FEDERATED, Regime.CENTRAL, Regime.MR_ONLY, Regime.CT_ONLY):
        for spec, result in results:
            if spec.regime is regime and spec.population == results[0][0].population and not spec.without:
                title = spec.method if regime is Regime.FEDERATED else f"{spec.method}, {in_words(regime)}"
                shown.setdefault(spec.method, (title, (spec, result)))
    return dict(shown.values())


def _curves(results: Results) -> tuple[dict[str, Curve], dict[str, str]]:
    """Return the curve of each arm that is shown, by its name, and the title of each modality's picture."""
    curves = {title: result.curve for title, (_, result) in _shown_arms(results).items()}
    return curves, validation_titles({score.modality for _, result in results for score in result.scores})


def _organs(results: Results) -> list[str]:
    """Return the organs of all arms, each once."""
    return list(dict.fromkeys(organ for _, result in results for organ in result.arm.experiment.organs))


def _overlays(sites: StudySites, results: Results) -> list[ShownCase]:
    """Draw a test case of each modality with every method's prediction."""
    arms, organs, drawn = _shown_arms(results), _organs(results), _drawn(results)
    found = []
    for _, cases in sorted(cases_by_modality(sites.setting(results[0][0]).sites, Split.TEST).items()):
        shown = busiest_slice(cases[0].case, organs)
        site, subject = shown.case.site, shown.case.subject
        predicted = {
            title: _predict(run, case, shown, organs)
            for title, (spec, run) in arms.items()
            for case in _seen_by(sites, spec, shown)
        }
        notes = {title: dice_note(run, site, subject) for title, (_, run) in arms.items()}
        found.append(ShownCase(shown.title, show_case(shown, predicted, notes).panels, _draws(sites, drawn, shown)))
    return found


def _named(method: str) -> str:
    return method.upper() if method == tables.REFERENCE else in_words(method)


def _drawn(results: Results) -> tuple[ArmSpec, ArmResult]:
    """Return the run whose augmentation is shown: of the reference method, or of the first that augments."""
    named = (each for each in results if each[0].method == tables.REFERENCE)
    augmented = (each for each in results if each[1].arm.experiment.augmentation.name != "none")
    return next(named, None) or next(augmented, results[0])


def _predict(run: ArmResult, case: CachedCase, shown: Shown, organs: Sequence[str]) -> NDArray[np.uint8]:
    network, kept = load_network(run.arm, run.model, shown.case.site), run.arm.experiment.in_one_piece
    return predict_slice(network, case, shown.index, organs, in_one_piece=kept)


def _draws(sites: StudySites, drawn: tuple[ArmSpec, ArmResult], shown: Shown) -> list[Panel]:
    spec, result = drawn
    experiment = result.arm.experiment
    augmentation, quality = experiment.build_augmentation(), experiment.augmentation.quality
    return [
        panel
        for case in _seen_by(sites, spec, shown)
        for panel in show_draws(case, augmentation, quality=quality, seed=experiment.seed, draws=DRAWS)
    ]


def _seen_by(sites: StudySites, spec: ArmSpec, shown: Shown) -> list[CachedCase]:
    """Return the case as an arm sees it, at its own resolution and axes; nothing where the site is no part of it."""
    site = sites.setting(spec).sites.get(shown.case.site)
    cases = site.cases[Split.TEST] if site else []
    return [case for case in cases if case.case.number == shown.case.number]
