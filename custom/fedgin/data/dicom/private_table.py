"""The one place where pseudonyms and originals stand side by side: a file beside the key that never leaves the site."""

import csv
import io
from pathlib import Path

import pydicom

from fedgin.data.dicom.header import SliceHeader
from fedgin.data.dicom.pseudonyms import Pseudonyms, write_private
from fedgin.data.dicom.scan import Scan, Series

COLUMNS = ("patient", "series", "modality", "files", "patient_key", "series_key", "description", "segments", "folder")


def private_table(folder: Path, out: Path) -> Path:
    """Return the path of the table of a dataset; its name warns."""
    return folder / f"PRIVATE-do-not-share-{out.name}.csv"


def write_private_table(path: Path, scan: Scan, pseudonyms: Pseudonyms) -> None:
    """Write one row a series and a damaged file, mode 0600: for looking up a case, and for writing the rules."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(series, pseudonyms) for series in scan.series)
    writer.writerows({"series": pseudonyms.series(str(file)), "files": 1, "folder": file} for file in scan.damaged)
    write_private(path, table.getvalue().encode("utf-8", "replace").decode("utf-8"))


def segment_names(item: SliceHeader) -> list[str]:
    """Return the segment names of a segmentation file; empty for any other file."""
    if not item.facts.references:
        return []
    dataset = pydicom.dcmread(item.path, stop_before_pixels=True, specific_tags=["SegmentSequence"])
    return [str(segment.get("SegmentLabel", "")) for segment in dataset.get("SegmentSequence") or []]


def _row(series: Series, pseudonyms: Pseudonyms) -> dict[str, str | int]:
    facts = series.facts
    values = (
        pseudonyms.patient(facts.patient),
        pseudonyms.series(series.key),
        facts.modality,
        len(series.slices),
        facts.patient,
        series.key,
        facts.description,
        "; ".join(name for item in series.slices for name in segment_names(item)),
        str(series.slices[0].path.parent),
    )
    return dict(zip(COLUMNS, values, strict=True))
