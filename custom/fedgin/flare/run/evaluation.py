"""What the sites told of a model that a job evaluated, and whether it is a result."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from fedgin.flare.protocol import EVALUATED, SERVER_MODEL
from fedgin.train.evaluate.site_scores import SiteScores


def read_scores(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, SiteScores]:
    """Return the scores of each site whose answer is whole.

    Args:
        answers: site -> model -> answer, of FLARE's cross-site evaluation.
    """
    found = {}
    for site, models in sorted(answers.items()):
        try:
            found[site] = SiteScores.model_validate(models.get(f"{SERVER_MODEL}{EVALUATED}"))
        except (ValidationError, RecursionError):
            continue  # it is missing, and named as such
    return found


def find_evaluation_fault(scores: Mapping[str, SiteScores], sites: Collection[str], least: int) -> str:
    """Say which sites are missing, or nothing when no more are missing than may be.

    Args:
        scores: by site.
        sites: that the job was for.
        least: how many of them it needs.
    """
    missing = sorted(set(sites) - scores.keys())
    if len(scores.keys() & set(sites) if sites else scores) >= least:
        return ""
    named = f"site {', '.join(missing)} did not score the model" if missing else "no site scored the model"
    return f"{named}; the job needs {least} sites"
