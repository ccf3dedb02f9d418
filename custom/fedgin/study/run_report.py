"""Write what a job of a real federation did as one offline HTML page."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from fedgin.files import write_text
from fedgin.flare.job import Job
from fedgin.flare.results import DICE, RunResult, read_cross_site
from fedgin.study.figures import draw_curves
from fedgin.study.report import cross_site_dice


def write_run_report(path: Path, job: Job, job_id: str, result: RunResult) -> Path:
    """Write the page and return its path.

    The page opens with participation: who was expected, who contributed on how many cases, who was absent and why. It
    has each site's validation Dice by round, of the model that the site received, the choice between the last model and
    FLARE's best, and the cross-site evaluation.

    Args:
        path: of the page.
        job: what was submitted.
        job_id: FLARE's.
        result: of a run without fault.
    """
    rounds = result.rounds
    sites = sorted({site for metrics in rounds for site in metrics.sites})
    curves = {
        site: [{"round": float(item.number), DICE: item.dice[site]} for item in rounds if site in item.dice]
        for site in sites
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedgin.study"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("run.html").render(
        job=job,
        job_id=job_id,
        sites=sites,
        rounds=rounds,
        participation=result.participation,
        candidates=result.candidates,
        chosen=result.chosen_model.name,
        curves=draw_curves(curves, [DICE]),
        cross_site=cross_site_dice(read_cross_site(result.cross_site)),
        settings=json.dumps(job.experiment.model_dump(mode="json"), indent=2),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(path, page)
    return path
