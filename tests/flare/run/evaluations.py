"""What a job that evaluated a model leaves at the server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedgin.flare.protocol import EVALUATED, SERVER_MODEL
from fedgin.flare.run.results import RunResult


def organ(dice: float, patients: int | str = 5) -> dict[str, Any]:
    """Return the scores of an organ, as a site sends them."""
    share = {"value": dice, "low": dice - 0.1, "high": dice + 0.1}
    return {
        "patients": patients,
        "dice": share,
        "surface_dice": share,
        "hd95_mm": {"value": 4.25, "low": 3.0, "high": 6.0},
    }


def without_intervals(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of an organ as a site sends them that does not share its few cases."""
    return {name: {"value": part["value"]} if isinstance(part, dict) else part for name, part in scores.items()}


def site_answer(modality: str = "CT", dice: float = 0.8, **more: Any) -> dict[str, Any]:
    """Return a whole answer: the liver was scored, and the spleen is not labelled."""
    scored = {"mean": organ(dice), "organs": {"liver": organ(dice)}, "unlabelled": ["spleen"]}
    return {"modality": modality, "patients": 5, **scored, **more}


def lay_out_evaluation(folder: Path, answers: Mapping[str, Any]) -> RunResult:
    """Write FLARE's cross-site evaluation with the sites' answers."""
    result = RunResult(folder)
    result.cross_site.parent.mkdir(parents=True, exist_ok=True)
    result.cross_site.write_text(
        json.dumps({site: {f"{SERVER_MODEL}{EVALUATED}": answer} for site, answer in answers.items()})
    )
    return result
