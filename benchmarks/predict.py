"""CPU time and peak memory of ``fedgin predict`` on one image, beside the bare forward pass of the same network."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks._clock import best_of, peak_mb, run_with
from fedgin.data.preprocessing import preprocess
from fedgin.data.site import Modality
from fedgin.deploy.predict import Segmenter, guess_modality, open_segmenter, read_nifti
from fedgin.deploy.results import predict
from fedgin.nets.dsbn import route
from fedgin.report.prediction_page import Pictures

LIMIT = 2.0
# The fastest for slices of 128 x 96 among 1, 2, 4, 8, 16, 32 and 64.
SLICES_AT_ONCE = 32


def prepare(segmenter: Segmenter, path: Path) -> tuple[Tensor, Modality]:
    """Return what the network sees of an image, [D, X, Y], and the image's modality."""
    image = read_nifti(path)
    modality, nothing = guess_modality(image), np.zeros(image.voxels.shape, dtype=np.uint8)
    settings = segmenter.bundle.experiment.preprocessing
    return preprocess(image, nothing, modality is Modality.CT, settings).image, modality


def forward(network: nn.Module, slices: Tensor, modality: Modality) -> None:
    """Compute the logits of slices [D, X, Y] and forget them."""
    with torch.inference_mode():
        for start in range(0, len(slices), SLICES_AT_ONCE):
            batch = slices[start : start + SLICES_AT_ONCE, None]
            route(network, [modality.value] * len(batch))
            network(batch)


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle of 'fedgin export'.")],
    image: Annotated[list[Path], typer.Argument(help="NIfTI images; each is measured.")],
    repeats: Annotated[int, typer.Option(min=1, help="The best of this many runs counts.")] = 3,
    before: Annotated[Path | None, typer.Option(help="Checkout of another version, measured in the same run.")] = None,
    as_json: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure a whole prediction, from the file to labels, warnings and pictures, on one thread of the CPU.

    Starting Python and loading the libraries counts on neither side; `benchmarks.startup` has it. Prints rows for
    docs/speed.md. Exit code 1 when a ratio is above 2.

    Example: python -m benchmarks.predict bundle ../shared/data/abdomen_ct/ct_01.nii.gz
    """
    torch.set_num_threads(1)
    rows = {}
    if before:  # first: a process inherits the peak memory of the one that starts it
        places = [str(path.resolve()) for path in (bundle, *image)]
        rows["before"] = json.loads(run_with(before, [*places, "--repeats", str(repeats), "--as-json"]))
    rows["now"] = [_measure(bundle, path, repeats) for path in image]
    if as_json:
        print(json.dumps(rows["now"]))
        return
    table = Table("image", "version", *rows["now"][0]["shown"])
    for which, measured in rows.items():
        for path, row in zip(image, measured, strict=True):
            table.add_row(path.name, which, *row["shown"].values())
    Console().print(table)
    raise typer.Exit(int(max(row["ratio"] for row in rows["now"]) > LIMIT))


def _measure(bundle: Path, path: Path, repeats: int) -> dict[str, Any]:
    opened = open_segmenter(bundle)
    segmenter = Segmenter(opened.bundle, opened.network.cpu(), torch.device("cpu"))
    slices, modality = prepare(segmenter, path)
    start = peak_mb()
    with tempfile.TemporaryDirectory() as scratch:
        bare, ours = best_of(
            repeats,
            lambda: forward(segmenter.network, slices, modality),
            lambda: _predict(segmenter, path, Path(scratch)),
        )
    shown = {
        "voxels": " x ".join(map(str, read_nifti(path).voxels.shape)),
        "forward pass s": f"{bare:.2f}",
        "predict s": f"{ours:.2f}",
        "ratio": f"{ours / bare:.2f}",
        "MB before": f"{start:.0f}",
        "MB at the peak": f"{peak_mb():.0f}",
    }
    return {"ratio": ours / bare, "shown": shown}


def _predict(segmenter: Segmenter, path: Path, out: Path) -> None:
    [result] = predict(segmenter, path, out, lambda *_: None, Pictures().draw)
    assert not result.problem, result.problem


if __name__ == "__main__":
    typer.run(main)
