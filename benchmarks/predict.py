"""CPU time and peak memory of ``fedgin predict`` on one image, beside the bare forward pass of the same network."""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.data.preprocessing import preprocess
from fedgin.data.site import Modality
from fedgin.deploy.predict import Segmenter, guess_modality, open_segmenter, read_nifti
from fedgin.deploy.results import predict
from fedgin.nets.dsbn import route
from fedgin.report.prediction_page import Pictures
from fedgin.train.evaluate.inference import SLICES_AT_ONCE

LIMIT = 2.0


def prepare(segmenter: Segmenter, path: Path) -> tuple[Tensor, Modality]:
    """Return what the network sees of an image, [D, X, Y], and the image's modality."""
    image = read_nifti(path)
    modality, nothing = guess_modality(image), np.zeros(image.voxels.shape, dtype=np.uint8)
    settings = segmenter.bundle.experiment.preprocessing
    return preprocess(image, nothing, modality is Modality.CT, settings).image, modality


def forward(segmenter: Segmenter, slices: Tensor, modality: Modality) -> None:
    with torch.inference_mode():
        for start in range(0, len(slices), SLICES_AT_ONCE):
            batch = slices[start : start + SLICES_AT_ONCE, None]
            route(segmenter.network, [modality.value] * len(batch))
            segmenter.network(batch)


def cpu_seconds(step: Callable[[], object]) -> float:
    """Time a step; other work on the machine does not count."""
    start = time.process_time()
    step()
    return time.process_time() - start


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle of 'fedgin export'.")],
    image: Annotated[list[Path], typer.Argument(help="NIfTI images; each is measured.")],
    repeats: Annotated[int, typer.Option(min=1, help="The best of this many runs counts.")] = 3,
) -> None:
    """Measure a whole prediction, from the file to labels, warnings and pictures, on one thread of the CPU.

    Starting Python and loading the libraries counts on neither side; `benchmarks.startup` has it. Prints rows for
    docs/speed.md. Exit code 1 when a ratio is above 2.

    Example: python -m benchmarks.predict bundle ../shared/data/abdomen_ct/ct_01.nii.gz
    """
    torch.set_num_threads(1)
    opened = open_segmenter(bundle)
    segmenter = Segmenter(opened.bundle, opened.network.cpu(), torch.device("cpu"))
    table = Table("image", "voxels", "forward pass s", "predict s", "ratio", "MB before", "MB at the peak")
    ratios = []
    for path in image:
        slices, modality = prepare(segmenter, path)
        before = peak_mb()
        with tempfile.TemporaryDirectory() as scratch:
            bare, ours = [], []
            for _ in range(repeats):
                bare.append(cpu_seconds(lambda s=slices, m=modality: forward(segmenter, s, m)))  # type: ignore[misc]
                ours.append(cpu_seconds(lambda p=path: _predict(segmenter, p, Path(scratch))))  # type: ignore[misc]
        ratios.append(min(ours) / min(bare))
        shape = " x ".join(map(str, read_nifti(path).voxels.shape))
        times = (f"{min(bare):.2f}", f"{min(ours):.2f}", f"{ratios[-1]:.2f}")
        table.add_row(path.name, shape, *times, f"{before:.0f}", f"{peak_mb():.0f}")
    Console().print(table)
    raise typer.Exit(int(max(ratios) > LIMIT))


def _predict(segmenter: Segmenter, path: Path, out: Path) -> None:
    [result] = predict(segmenter, path, out, lambda *_: None, Pictures().draw)
    assert not result.problem, result.problem


if __name__ == "__main__":
    typer.run(main)
