"""``fedgin site ingest``: from the DICOM folder to a dataset."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedgin.cli.format import Format
from fedgin.cli.options import Output
from fedgin.cli.tables import print_json, print_rows

if TYPE_CHECKING:
    from fedgin.data.dicom.ingest import IngestReport
    from fedgin.data.dicom.rules import LabelSource


def ingest(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder with DICOM files in any order and depth.")],
    out: Annotated[Path, typer.Argument(help="Folder of the dataset; the same folder continues a run.")],
    rules: Annotated[Path, typer.Option(help="ingest.yaml: which series, which labels, which splits.")] = Path(
        "ingest.yaml"
    ),
    private: Annotated[
        Path | None,
        typer.Option(help="Folder of the pseudonym key and the private table; never share it. Default: OUT.private"),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Convert the DICOM series that the rules select to NIfTI, read their labels, and list why others are left out.

    Nothing in OUT names a patient. Exit code 1: nothing could be converted.

    Example: fedgin site ingest /data/pacs-export /data/abdomen --rules ingest.yaml
    """
    from fedgin.data.dicom.ingest import ingest as run_ingest
    from fedgin.data.dicom.private_table import private_table
    from fedgin.data.dicom.rules import load_rules

    console = Console(highlight=False)
    wanted = load_rules(rules)
    secrets = private or out.resolve().with_name(f"{out.resolve().name}.private")
    with _Bar() as bar:
        report = run_ingest(dicom_dir, out, wanted, secrets, bar.show)
    read, left_out, notes = _what_was_read(report), _left_out(report), _notes(report, wanted.labels.source)
    if output is Format.JSON:
        print_json({"read": {name.strip(): count for name, count in read}, "left_out": left_out, "notes": notes})
    else:
        print_rows(("read and written", "number"), [(name, str(count)) for name, count in read], output, title="Ingest")
        if left_out:
            print_rows(("series", "problem", "fix"), [[*item.values()] for item in left_out], output, title="Left out")
        for note in notes:
            console.print(f"[bold yellow]Note:[/] {note}")
        console.print(f"Dataset: {out}   Private, never share: {private_table(secrets, out)}")
    if not report.converted + report.kept:
        raise typer.Exit(1)


class _Bar:
    """A progress bar with the remaining time, one line a stage, on standard error."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._stages[stage], completed=done)


def _what_was_read(report: "IngestReport") -> list[tuple[str, int]]:
    from fedgin.data.datalist import Split

    scan = report.scan
    rows = {
        "DICOM series": len(scan.series),
        "images converted now": report.converted,
        "images kept from an earlier run": report.kept,
        "cases with labels": report.labelled,
        **{f"  {split.value}": report.splits[split] for split in Split},
        "left out (quarantine.csv)": len(report.left_out),
        "exact copies of a slice": scan.copies,
        "files that are no DICOM": scan.not_dicom,
        "DICOMDIR files (not needed)": scan.directories,
        "links to folders (not followed)": scan.links,
        "files and folders not permitted": scan.unreadable,
    }
    return list(rows.items())


def _left_out(report: "IngestReport") -> list[dict[str, object]]:
    counts = Counter(item.reason for item in report.left_out).most_common()
    return [{"series": count, "problem": reason.text, "fix": reason.fix} for reason, count in counts]


def _notes(report: "IngestReport", source: "LabelSource") -> list[str]:
    from fedgin.data.datalist import Split
    from fedgin.data.dicom.rules import LabelSource

    notes = []
    if report.nameless_patients:
        notes.append(
            f"{report.nameless_patients} patients have no patient id; each study (or frame of reference, or folder) "
            "counts as one patient. Check that no patient has two."
        )
    if source is LabelSource.NONE:
        notes.append("the rules take no labels, so there is no datalist.json and no site.yaml yet.")
    elif not (report.splits[Split.TRAINING] and report.splits[Split.VALIDATION]):
        notes.append("training or validation has no case; at least two labelled patients are needed.")
    return notes
