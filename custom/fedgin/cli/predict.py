"""``fedgin predict``: segment new images with a bundle."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from fedgin.cli.format import Format
from fedgin.cli.options import Output, Overwrite
from fedgin.cli.tables import print_json, print_rows

if TYPE_CHECKING:
    from fedgin.deploy.predict import Segmenter
    from fedgin.deploy.results import Result


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder that 'fedgin export' wrote.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="NIfTI file, folder of them, or a DICOM study.")],
    out: Annotated[Path, typer.Option(help="Folder for labels, DICOM SEG and SR, result.json, report.html.")],
    overwrite: Overwrite = False,
    output: Output = Format.TEXT,
) -> None:
    """Segment an image or every image of a folder, and write labels on their own grid, SEG and SR for DICOM.

    An image that cannot be segmented never stops the others; the exit code is 1 then. OUT appears when all is done, and
    holds what was found in this INPUT alone; the same command replaces it. What is unlike the training is a
    warning in the table, in result.json, in the DICOM objects and at the top of report.html, which shows the organs.

    Example: fedgin predict bundle study --out segmented
    """
    from fedgin.deploy.bundle import NOT_A_DEVICE
    from fedgin.deploy.predict import open_segmenter
    from fedgin.deploy.results import PREDICTIONS, RESULT
    from fedgin.files import writing
    from fedgin.folders import whole_folder
    from fedgin.report.prediction_page import PAGE

    # Standard output is the table's, or the program's that reads it.
    console = Console(highlight=False, soft_wrap=True, stderr=output is Format.JSON)
    console.print(NOT_A_DEVICE)
    segmenter = open_segmenter(bundle)
    # A folder says what it holds in a file that may be copied on, so that a path, which may name a patient, is hashed.
    place = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:12]
    holds = f"{PREDICTIONS} of input {place} by bundle {segmenter.bundle.sha256[:12]}"
    with contextlib.ExitStack() as folder:
        with writing("the results"):
            part = folder.enter_context(whole_folder(out, holds=holds, overwrite=overwrite))
        results = _segment_all(segmenter, source, part, console)
        with writing("the results"):
            folder.close()
    if output is Format.JSON:
        print_json([asdict(result) for result in results])
    else:
        _print(results)
    console.print(f"Results: {out / RESULT}\nLook at (local only): {out / PAGE}")
    if any(result.problem for result in results):
        raise typer.Exit(1)


def _segment_all(segmenter: "Segmenter", source: Path, part: Path, console: Console) -> "list[Result]":
    """Write labels, DICOM objects, ``result.json`` and the page into a folder, with a progress bar."""
    from fedgin.deploy.results import predict as segment_all
    from fedgin.files import writing
    from fedgin.report.prediction_page import PAGE, Pictures, write_prediction_page

    pictures = Pictures()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        with _reading():
            results = segment_all(
                segmenter,
                source,
                part,
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
                pictures.draw,
            )
        with writing("the results"):
            write_prediction_page(part / PAGE, segmenter.bundle, results, pictures)
    return results


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Say in one line, without a path, that the input cannot be read; what cannot be written has said so itself."""
    from fedgin.errors import DataError

    try:
        yield
    except OSError as error:
        raise DataError(
            f"INPUT cannot be read: {error.strerror}", "give an input that you may read, or mend its rights"
        ) from None


def _print(results: "list[Result]") -> None:
    rows = []
    for result in results:
        volumes = ", ".join(f"{organ.replace('_', ' ')} {volume:.0f}" for organ, volume in result.volumes_ml.items())
        rows.append((result.name, result.modality, volumes, [*result.warnings, result.problem]))
    print_rows(("image", "modality", "volumes in ml", "what to look at"), rows, Format.TEXT)
