"""The list of what was left out: pseudonyms, a reason and a fix; nothing in it leads back to a patient."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from fedgin.data.dicom.reasons import Reason
from fedgin.files import write_text

# A modality is free text to a broken exporter, so that only known ones are repeated.
KNOWN_MODALITIES = frozenset(
    (
        "CT",
        "MR",
        "PT",
        "NM",
        "US",
        "CR",
        "DX",
        "MG",
        "XA",
        "OT",
        "SEG",
        "RTSTRUCT",
        "RTPLAN",
        "RTDOSE",
        "SR",
        "PR",
        "KO",
    )
)
COLUMNS = ("number", "patient", "series", "modality", "files", "reason", "problem", "fix")


@dataclass(frozen=True)
class LeftOut:
    """One series, or one file that belongs to none.

    Attributes:
        patient: pseudonym, or empty for a file without readable header.
        series: pseudonym.
        modality: a known one, or ``other``.
        files: how many.
        reason: why.
    """

    patient: str
    series: str
    modality: str
    files: int
    reason: Reason


def public_modality(modality: str) -> str:
    """Return a modality that is safe to write: itself if known, else ``other``."""
    return modality if modality in KNOWN_MODALITIES else "other"


def write_quarantine(out: Path, left_out: list[LeftOut]) -> None:
    """Write ``quarantine.csv`` and ``quarantine.json`` with the same rows, numbered from 1."""
    rows = [_row(number, item) for number, item in enumerate(left_out, start=1)]
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "quarantine.csv", table.getvalue())
    write_text(out / "quarantine.json", json.dumps(rows, indent=1) + "\n")


def _row(number: int, item: LeftOut) -> dict[str, str | int]:
    values = (number, item.patient, item.series, item.modality, item.files)
    return dict(zip(COLUMNS, (*values, item.reason.code, item.reason.text, item.reason.fix), strict=True))
