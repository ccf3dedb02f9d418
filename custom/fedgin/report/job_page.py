"""Write what a job of a real federation did, or does, as one offline HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from fedgin.flare.jobs.job import Job
from fedgin.flare.protocol import DICE
from fedgin.flare.run.results import RoundMetrics, RunResult, read_cross_site
from fedgin.page import Verdict, natural_order, write_page
from fedgin.report.cross_site import cross_site_table
from fedgin.report.figures import draw_curves
from fedgin.train.site.update import REFUSED

REFRESH_SECONDS = 10


def write_run_report(path: Path, job: Job, job_id: str, result: RunResult, *, fault: str = "") -> Path:
    """Write the page of a job that has ended, and return its path.

    The page opens with the verdict and with participation: who was expected, who contributed on how many cases, who was
    absent and why. It has each site's validation Dice by round, the choice between the last model and FLARE's best, and
    the cross-site evaluation, as far as the job came.

    Args:
        path: the path of the page.
        job: what was submitted; its sites are expected in every round, besides those that FLARE deployed it to.
        job_id: FLARE's.
        result: the result of a run with one round or more.
        fault: what keeps it from being a success.
    """
    rounds = [*result.rounds, result.final_metrics(job)]
    found = _who_took_part(job, result)
    context = {
        "job": job,
        "job_id": job_id,
        "verdict": _verdict(job, fault, result, sum(len(item.absent) for item in found["participation"])),
        "candidates": result.candidates,
        "chosen": result.chosen_model.name,
        "said": [],
        "cross_site": cross_site_table(read_cross_site(result.cross_site)) if result.cross_site.is_file() else None,
        "settings": _settings(job),
    }
    return write_page(path, "job.html", "fedgin.report", context | found | _by_round(rounds))


def write_live_report(
    path: Path, job: Job, job_id: str, rounds: Sequence[RoundMetrics], said: Sequence[str], *, left: str = ""
) -> Path:
    """Write the page of a job that runs, as far as it came; a browser that shows it reads it again by itself.

    Args:
        path: of the page.
        job: what was submitted.
        job_id: FLARE's.
        rounds: that are complete.
        said: what the server said of the job so far: its status, failures, sites that are late.
        left: why nobody renews the page any more.
    """
    done, total = job.first_round + len(rounds), job.first_round + job.rounds
    text = f"{done} of {total} rounds are complete"
    context = {
        "job": job,
        "job_id": job_id,
        "verdict": Verdict(f"{left} {text} so far." if left else f"Running: {text}."),
        "refresh": 0 if left else REFRESH_SECONDS,
        "participation": [],
        "candidates": {},
        "said": said,
        "cross_site": None,
        "settings": _settings(job),
    }
    return write_page(path, "job.html", "fedgin.report", context | _by_round(rounds))


def _verdict(job: Job, fault: str, result: RunResult, absent: int) -> Verdict:
    if fault:
        return Verdict(f"No success. {fault}", "bad")
    dice = result.candidates.get(result.chosen_model.name, math.nan)
    reached = "" if math.isnan(dice) else f"; the chosen model's validation Dice is {dice:.3f}"
    missing = f" Some updates are missing: {absent}." if absent else ""
    return Verdict(
        f"Success: all {job.rounds} rounds are complete, the final model was measured{reached}.{missing}", "good"
    )


def _settings(job: Job) -> dict[str, Any]:
    values = job.experiment.model_dump(mode="json")
    return {**values, "rounds": job.rounds, "min_clients": job.min_clients}


def _who_took_part(job: Job, result: RunResult) -> dict[str, Any]:
    rounds = [replace(item, expected=sorted({*item.expected, *job.sites})) for item in result.participation]
    expected = sorted({site for item in rounds for site in item.expected}, key=natural_order)
    return {
        "participation": rounds,
        "expected": expected,
        "averages": sum(item.aggregated for item in rounds),
        "measured": result.measurers.intersection(expected),
    }


def _by_round(rounds: Sequence[RoundMetrics]) -> dict[str, Any]:
    """A round's metrics are of the model that the sites received: of so many rounds of training."""
    rows: list[tuple[int, Mapping[str, float]]] = [
        (item.number, {site: dice for site, dice in item.dice.items() if math.isfinite(dice)}) for item in rounds
    ]
    rows = [(number, dice) for number, dice in rows if dice]
    sites = sorted({site for _, dice in rows for site in dice}, key=natural_order)
    curves = {
        site: [{"round": float(number), DICE: dice[site]} for number, dice in rows if site in dice] for site in sites
    }
    drawn = draw_curves(curves, {DICE: "validation cases of each site"})
    return {"rounds": rows, "sites": sites, "curves": drawn, "refused": _refused_draws(rounds)}


def _refused_draws(rounds: Sequence[RoundMetrics]) -> dict[str, float]:
    """Return the mean share of draws that each site's quality filter refused; nothing in a job without the filter."""
    shares: dict[str, list[float]] = {}
    for item in rounds:
        for site, metrics in item.sites.items():
            if 0.0 <= metrics.get(REFUSED, math.nan) <= 1.0:
                shares.setdefault(site, []).append(metrics[REFUSED])
    return {site: fmean(shares[site]) for site in sorted(shares, key=natural_order)}
