"""The page for the site's engineer: findings, one row a case, pictures. It shows patients and stays at the site."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from fedgin.data.validation.facts import PERCENTILES, CaseFacts
from fedgin.data.validation.findings import Severity, name_case, worst
from fedgin.data.validation.run import Validation
from fedgin.data.validation.thumbnail import colour_of
from fedgin.files import write_text


def write_page(path: Path, validation: Validation) -> None:
    """Write one HTML file that needs no other file and no network."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedgin.data.validation"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["words"] = lambda name: name.replace("_", " ")
    write_text(path, environment.get_template("validation.html").render(_context(validation)))


def _context(validation: Validation) -> dict[str, Any]:
    findings = validation.findings
    return {
        "contract": validation.contract,
        "verdict": validation.verdict.value,
        "counts": {level.value: sum(item.severity is level for item in findings) for level in reversed(Severity)},
        "findings": [item.as_dict() for item in findings],
        "rows": [_row(validation, case) for case in validation.facts],
        "colours": colour_of(validation.contract.labels),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _row(validation: Validation, facts: CaseFacts) -> dict[str, Any]:
    about = [item for item in validation.findings if item.case == name_case(facts.case)]
    image, label = facts.image, facts.label
    return {
        "name": name_case(facts.case),
        "severity": worst(about).value,
        "codes": list(dict.fromkeys(item.code for item in about)),
        "shape": " × ".join(str(size) for size in image.shape) if image else "",
        "spacing": " × ".join(f"{size:.3g}" for size in image.spacing_mm) if image else "",
        "axes": image.axes if image else "",
        "intensities": [f"{image.percentiles[PERCENTILES.index(q)]:.4g}" for q in (0.5, 50.0, 99.5)] if image else [],
        "organs": {name: _volume(ml) for name, ml in label.organ_ml.items()} if label else {},
        "thumbnail": facts.thumbnail,
    }


def _volume(ml: float) -> str:
    if ml == 0:
        return "–"
    return f"{ml:.0f}" if ml >= 10 else f"{ml:.1f}"
