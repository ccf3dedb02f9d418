"""Write a comparison: one offline HTML page, its scores and table, and its pictures for documents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData
from fedgin.files import whole_file, write_text
from fedgin.page import Verdict, natural_order, write_page
from fedgin.report.comparison_table import dice_table, scored_arms, scores_text, table_text
from fedgin.report.cross_site import cross_site_table
from fedgin.report.draws import show_draws
from fedgin.report.figures import draw_curves, validation_titles, write_curves
from fedgin.report.overlays import (
    ShownCase,
    busiest_slice,
    contact_sheet,
    organ_colours,
    predict_slice,
    show_case,
)
from fedgin.study.arm_result import ArmResult, Comparison, load_network
from fedgin.study.arms import cases_by_modality
from fedgin.study.conclusion import ScoredArm, conclude
from fedgin.train.evaluate.patient_values import subject_values

DRAWS = 4


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write the page; return its path.

    Beside it are ``scores.csv``, ``tables.md`` made of the scores, and ``pictures`` with curves and overlays as PNG.
    """
    results = comparison.results
    arms = scored_arms(results, sorted({site.contract.modality for site in comparison.sites.values()}))
    shown = _overlays(comparison)
    curves = {result.arm.title: result.curve for result in results}
    modalities = validation_titles({score.modality for score in results[0].scores})
    write_text(path.parent / "scores.csv", scores_text(arms))
    write_text(path.parent / "tables.md", _document(comparison, arms))
    with whole_file(path.parent / "pictures" / "overlays.png") as part:
        contact_sheet(shown).save(part, optimize=True)
    write_curves(path.parent / "pictures" / "curves.png", curves, modalities)
    drawn = {"curves": draw_curves(curves, modalities), "shown": shown}
    return write_page(path, "comparison.html", "fedgin.report", _context(comparison, arms) | drawn)


def _document(comparison: Comparison, arms: Sequence[ScoredArm]) -> str:
    """Return the comparison as a page of the documentation."""
    arm = comparison.results[-1].arm
    training = arm.experiment.training
    samples = "patches" if arm.experiment.spatial_dims == 3 else "slices"
    sites = ", ".join(
        f"{name} ({site.contract.modality}, {len(site.cases[Split.TRAINING])})" for name, site in _sorted(comparison)
    )
    return (
        f"# {comparison.title}\n\n{comparison.note}\n\n"
        f"Sites, with their training cases: {sites}. {arm.rounds} rounds of {training.length} with batches of "
        f"{training.batch_size} {samples}, seed {arm.experiment.seed}, one run an arm.\n\n{table_text(arms)}\n"
        "Mean Dice over test patients [95 % bootstrap interval], in 3D on each image's own grid. Differences between "
        "seeds are not in the intervals.\n"
    )


def _context(comparison: Comparison, arms: Sequence[ScoredArm]) -> dict[str, Any]:
    results = comparison.results
    return {
        "verdict": Verdict(conclude(arms)),
        "comparison": comparison,
        "rows": dice_table(arms),
        "colours": organ_colours(results[-1].arm.experiment.organs),
        "sites": [_describe_site(site) for _, site in _sorted(comparison)],
        "federated": [result.arm for result in results if result.cross_site],
        "cross_site": {item.arm.title: cross_site_table(item.cross_site) for item in results if item.cross_site},
        "settings": {**results[-1].arm.experiment.model_dump(mode="json"), "rounds": results[-1].arm.rounds},
    }


def _sorted(comparison: Comparison) -> list[tuple[str, SiteData]]:
    return sorted(comparison.sites.items(), key=lambda item: natural_order(item[0]))


def _overlays(comparison: Comparison) -> list[ShownCase]:
    experiment = comparison.results[-1].arm.experiment
    augmentation = experiment.build_augmentation()
    found = []
    for _, cases in sorted(cases_by_modality(comparison.sites, Split.TEST).items()):
        shown = busiest_slice(cases[0].case, experiment.organs)
        site, subject = shown.case.site, shown.case.subject
        predicted = {
            item.arm.title: predict_slice(
                load_network(item.arm, item.model, site),
                cases[0],
                shown.index,
                experiment.organs,
                in_one_piece=item.arm.experiment.in_one_piece,
            )
            for item in comparison.results
        }
        notes = {item.arm.title: dice_note(item, site, subject) for item in comparison.results}
        quality = experiment.augmentation.quality
        draws = show_draws(cases[0], augmentation, quality=quality, seed=experiment.seed, draws=DRAWS)
        found.append(ShownCase(shown.title, show_case(shown, predicted, notes).panels, draws))
    return found


def dice_note(result: ArmResult, site: str, subject: int) -> str:
    """Return the mean Dice of a test patient's organs, as it stands below the arm's picture."""
    values = subject_values(result.scores)
    return f"Dice of the patient {values[site, subject]:.2f}" if (site, subject) in values else ""


def _describe_site(site: SiteData) -> dict[str, Any]:
    return {
        "name": site.contract.site,
        "modality": site.contract.modality.value,
        "cases": {split.value: len(cases) for split, cases in site.cases.items()},
        "slices": site.training_slices,
        "organs": site.cases[Split.TRAINING][0].labelled,
    }
