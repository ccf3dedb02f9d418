"""Slices per second of ``fedgin site ingest`` beside the plain read of the same files by pydicom."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pydicom
import typer
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rich.console import Console
from rich.table import Table

from fedgin.data.dicom.ingest import ingest
from fedgin.data.dicom.rules import IngestRules, LabelRules, LabelSource
from fedgin.data.site import Modality

LIMIT = 1.5
RULES = IngestRules(
    site="benchmark", modality=Modality.CT, minimum_slices=2, labels=LabelRules(source=LabelSource.NONE)
)


def write_series(folder: Path, slices: int, size: int) -> None:
    """Write an uncompressed CT series of noise; the header is as short as a header can be, which is the hard case."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    series, frame = generate_uid(entropy_srcs=["series"]), generate_uid(entropy_srcs=["frame"])
    for number in range(slices):
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.Modality, dataset.PatientID = "CT", "benchmark"
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, frame
        dataset.ImagePositionPatient = [-200.0, -200.0, 1.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [0.8, 0.8], 1, -1024
        dataset.Rows = dataset.Columns = size
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = rng.integers(0, 4096, (size, size), dtype=np.uint16).tobytes()
        dataset.save_as(folder / f"{number:04d}", enforce_file_format=True)


def plain_read(files: list[Path]) -> None:
    for file in files:
        _ = pydicom.dcmread(file).pixel_array


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(source: Path, scratch: Path, repeats: int) -> tuple[int, float, float]:
    """Return the number of files and the best time of the plain read and of a whole ingest, run in turn."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    plain, ours = [], []
    for number in range(repeats):
        out, private = scratch / f"out-{number}", scratch / f"private-{number}"
        plain.append(seconds(lambda: plain_read(files)))
        ours.append(seconds(lambda o=out, p=private: ingest(source, o, RULES, p, lambda *_: None)))  # type: ignore[misc]
        for image in (out / "images").iterdir():
            image.unlink()
    return len(files), min(plain), min(ours)


def main(
    slices: Annotated[int, typer.Option(min=2, help="Slices of the synthetic series.")] = 240,
    size: Annotated[int, typer.Option(min=16, help="Rows and columns of the synthetic series.")] = 512,
    series: Annotated[Path | None, typer.Option(help="Folder of a real CT series to measure as well.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="The best of this many runs counts.")] = 5,
) -> None:
    """Measure whole ingests (scan, checks, conversion, writing) against pydicom's dcmread and pixel_array.

    Exit code 1 when a ratio is above 1.5.

    Example: python -m benchmarks.ingest --series ../shared/data/dicom_ct
    """
    table = Table("series", "files", "plain read /s", "ingest /s", "ratio", title=f"Slices per second (limit {LIMIT})")
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_series(scratch / "synthetic", slices, size)
        sources = {f"synthetic {size}x{size}": scratch / "synthetic"} | ({"real": series} if series else {})
        for name, source in sources.items():
            count, plain, ours = compare(source, scratch / name, repeats)
            ratios.append(ours / plain)
            table.add_row(name, str(count), f"{count / plain:.0f}", f"{count / ours:.0f}", f"{ratios[-1]:.2f}")
    Console().print(table)
    raise typer.Exit(int(max(ratios) > LIMIT))


if __name__ == "__main__":
    typer.run(main)
