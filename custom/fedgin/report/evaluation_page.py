"""Write what the sites scored of a bundle's model as one offline HTML page and as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedgin.files import write_text
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.outcome import CASE_SCORES, SITE_SCORES
from fedgin.flare.run.results import RunResult
from fedgin.page import Verdict, write_page
from fedgin.report.evaluation_table import (
    LEGEND,
    MEASURES,
    Scores,
    case_scores_text,
    pooled_modalities,
    site_scores_text,
    site_table,
)

REFRESH_SECONDS = 10
# Of the experiment, what bears on the scores.
SHOWN = {"name", "organs", "preprocessing", "network", "postprocessing", "evaluates"}


def write_evaluation_report(path: Path, job: Job, job_id: str, result: RunResult, *, fault: str = "") -> Path:
    """Write the page of a job that evaluated a model, and its CSV files beside it; return its path.

    The page opens with the verdict and with everything that was not scored, and why. It has a table of organs and sites
    for each measure, and the scores by case of those sites that agreed to show them.

    Args:
        path: the path of the page.
        job: what was submitted.
        job_id: FLARE's.
        result: the result, with the scores of one site or more.
        fault: what keeps it from being a success.
    """
    scores = result.scores
    write_text(path.with_name(SITE_SCORES), site_scores_text(scores))
    if cases := case_scores_text(scores):
        write_text(path.with_name(CASE_SCORES), cases)
    gaps = not_scored(job, scores)
    context = {
        "verdict": _verdict(fault, scores, gaps),
        "gaps": gaps,
        "scores": scores,
        "legend": LEGEND,
        "pooled": pooled_modalities(scores),
        "tables": {title: site_table(scores, job.experiment.organs, name) for name, title in MEASURES.items()},
        "digits": {title: 1 if name == "hd95_mm" else 3 for name, title in MEASURES.items()},
        "said": [],
    }
    return write_page(path, "evaluation.html", "fedgin.report", context | _about(job, job_id))


def write_live_evaluation(path: Path, job: Job, job_id: str, said: Sequence[str], *, left: str = "") -> Path:
    """Write the page of an evaluation that runs; a browser that shows it reads it again by itself.

    Args:
        path: of the page.
        job: what was submitted.
        job_id: FLARE's.
        said: what the server said of the job so far, with the score of each site that has answered.
        left: why nobody renews the page any more.
    """
    context = {
        "verdict": Verdict(left or f"Running: {len(job.sites)} sites score the model."),
        "refresh": 0 if left else REFRESH_SECONDS,
        "gaps": [],
        "scores": {},
        "said": said,
    }
    return write_page(path, "evaluation.html", "fedgin.report", context | _about(job, job_id))


def not_scored(job: Job, scores: Scores) -> list[str]:
    """Say which sites and organs have no score, and for whom the model was not trained.

    Args:
        job: with its sites and the model.
        scores: by site.
    """
    assert job.evaluated is not None, "a job that trains has another page"
    said = [f"{site}: no scores came" for site in job.sites if site not in scores]
    for name, site in scores.items():
        if reasons := site.why_no_score():
            said.append(f"{name}: {reasons}")
        if site.modality not in job.evaluated.modalities:
            trained = " and ".join(job.evaluated.modalities)
            said.append(f"{name}: has {site.modality} images; the model was trained on {trained} only")
    return said


def _verdict(fault: str, scores: Scores, gaps: Sequence[str]) -> Verdict:
    if fault:
        return Verdict(f"No success. {fault}", "bad")
    limits = " The list below says what was not scored, or is new to the model." if gaps else ""
    return Verdict(f"Success: {len(scores)} sites scored the model on their test cases.{limits}", "good")


def _about(job: Job, job_id: str) -> dict[str, Any]:
    values = job.experiment.model_dump(mode="json", include=SHOWN)
    return {"job": job, "job_id": job_id, "settings": {**values, "min_clients": job.min_clients}}
