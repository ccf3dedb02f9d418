"""Write what a job of a real federation did as one offline HTML page."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from fedgin.files import write_text
from fedgin.flare.jobs.job import Job
from fedgin.flare.protocol import DICE
from fedgin.flare.run.results import RunResult, read_cross_site
from fedgin.report.comparison_page import cross_site_dice
from fedgin.report.figures import draw_curves


def write_run_report(path: Path, job: Job, job_id: str, result: RunResult, *, fault: str = "") -> Path:
    """Write the page and return its path.

    The page opens with participation: who was expected, who contributed on how many cases, who was absent and why, and
    the verdict. It has each site's validation Dice by round, of the model that the site received, the choice between
    the last model and FLARE's best, and the cross-site evaluation, as far as the job came.

    Args:
        path: the path of the page.
        job: what was submitted; its sites are expected in every round, besides those that FLARE deployed it to.
        job_id: FLARE's.
        result: the result of a run with one round or more.
        fault: what keeps it from being a success.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedgin.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("run.html").render(
        job=job,
        job_id=job_id,
        fault=fault,
        candidates=result.candidates,
        chosen=result.chosen_model.name,
        settings=json.dumps(job.experiment.model_dump(mode="json"), indent=2),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **_who_took_part(job, result),
        **_by_round(result),
    )
    write_text(path, page)
    return path


def _who_took_part(job: Job, result: RunResult) -> dict[str, Any]:
    rounds = [replace(item, expected=sorted({*item.expected, *job.sites})) for item in result.participation]
    expected = sorted({site for item in rounds for site in item.expected})
    cross_site = cross_site_dice(read_cross_site(result.cross_site)) if result.cross_site.is_file() else {}
    return {
        "participation": rounds,
        "expected": expected,
        "averages": sum(item.aggregated for item in rounds),
        "measured": result.measurers.intersection(expected),
        "cross_site": cross_site,
        "models": sorted({model for dice in cross_site.values() for model in dice}),
    }


def _by_round(result: RunResult) -> dict[str, Any]:
    rounds = result.rounds
    sites = sorted({site for metrics in rounds for site in metrics.sites})
    curves = {
        site: [{"round": float(item.number), DICE: item.dice[site]} for item in rounds if site in item.dice]
        for site in sites
    }
    return {"rounds": rounds, "sites": sites, "curves": draw_curves(curves, [DICE]) if curves else ""}
