"""The page for the site's engineer: findings, one row a case, pictures. It shows patients and stays at the site."""

from pathlib import Path
from typing import Any

from fedgin.data.validation.facts import PERCENTILES, CaseFacts
from fedgin.data.validation.findings import Severity, name_case, worst
from fedgin.data.validation.run import Validation
from fedgin.data.validation.thumbnail import colour_of
from fedgin.page import Verdict
from fedgin.page import write_page as write_any_page


def write_page(path: Path, validation: Validation) -> None:
    """Write one HTML file that needs no other file and no network."""
    write_any_page(path, "validation.html", "fedgin.data.validation", _context(validation))


def _context(validation: Validation) -> dict[str, Any]:
    findings = validation.findings
    return {
        "contract": validation.contract,
        "verdict": _verdict(validation),
        "level": validation.verdict.value,
        "counts": {level.value: sum(item.severity is level for item in findings) for level in reversed(Severity)},
        "findings": [item.as_dict() for item in findings],
        "rows": [_row(validation, case) for case in validation.facts],
        "colours": colour_of(validation.contract.labels),
    }


def _verdict(validation: Validation) -> Verdict:
    cases = len(validation.facts)
    if validation.verdict is Severity.FAIL:
        faulty = {item.case for item in validation.findings if item.severity is Severity.FAIL and item.case}
        return Verdict(
            f"This dataset must not train yet: mend every FAIL below ({len(faulty)} of {cases} cases).", "bad"
        )
    if validation.verdict is Severity.WARN:
        return Verdict(f"All {cases} cases can train. Look at the warnings below first.")
    return Verdict(f"All {cases} cases are right and can train.", "good")


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
