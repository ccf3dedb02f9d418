"""The one place where pseudonyms and originals stand side by side: a file beside the key that never leaves the site."""

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import pydicom

from fedgin.data.dicom.elements import text
from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.pseudonyms import Pseudonyms, write_private
from fedgin.data.dicom.rtstruct import structure_names
from fedgin.data.dicom.scan import Scan, Series

COLUMNS = (
    "patient",
    "series",
    "modality",
    "files",
    "patient_key",
    "series_key",
    "description",
    "part",
    "segments",
    "folder",
)

_NAMED = ["SegmentSequence", "StructureSetROISequence"]


def private_table(folder: Path, out: Path) -> Path:
    """Return the path of the table of a dataset; its name warns.

    It ends in a hash of the dataset's path: two datasets of one name may share the folder of the key.
    """
    place = out.resolve()
    return folder / f"PRIVATE-do-not-share-{place.name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}.csv"


def write_private_table(path: Path, scan: Scan, label_files: Sequence[Path], pseudonyms: Pseudonyms) -> None:
    """Write one row a series, and one a label file and a file or folder that cannot be read.

    It is there to look up a case, and to write the rules.

    The file gets mode 0600.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(series, pseudonyms) for series in scan.series)
    alone = [*(item.path for item in scan.lost), *label_files]
    writer.writerows({"series": pseudonyms.series(str(item)), "files": 1, "folder": item} for item in alone)
    write_private(path, table.getvalue().encode("utf-8", "replace").decode("utf-8"))


def segment_names(item: SliceHeader) -> list[str]:
    """Return the names of segments or structures; empty for any other, and for one that cannot be read."""
    if not item.facts.references:
        return []
    try:
        # Many kinds of object refer to a series, and old ones come without preamble.
        dataset = pydicom.dcmread(item.path, stop_before_pixels=True, force=True, specific_tags=_NAMED)
        segments = [text(segment, "SegmentLabel") for segment in dataset.get("SegmentSequence") or []]
        return segments or list(structure_names(dataset).values())
    except Exception:  # pydicom raises many kinds; the table is a help and must not end the run
        return []


def _row(series: Series, pseudonyms: Pseudonyms) -> dict[str, str | int]:
    facts = series.facts
    values = (
        pseudonyms.patient(facts.patient),
        pseudonyms.series(series.key),
        facts.modality,
        series.files,
        facts.patient,
        series.key,
        facts.description,
        series.part,
        "; ".join(name for item in series.slices for name in segment_names(item)),
        str(series.slices[0].path.parent),
    )
    return dict(zip(COLUMNS, values, strict=True))
