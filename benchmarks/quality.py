"""What the quality filter of augmentations refuses on real slices, and what it costs a training step on the CPU.

    python -m benchmarks.quality runs/real_abdomen/ct-site/site.yaml runs/real_abdomen/mr-site/site.yaml

Network, batch, loss and optimiser are those of the abdomen job; the slices are of the sites' training cases and show an
organ. A step, its GIN views and its GIN views with the filter, redraws included, are timed in turn in this process.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks._clock import cpu_seconds
from benchmarks.methods import JOB, training_step
from fedgin.augment import augmentation_names, build_augmentation
from fedgin.augment.hooks import Guide
from fedgin.augment.quality import QualityFilter
from fedgin.data.cache import CaseCache
from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import load_site
from fedgin.data.slices import slices_of
from fedgin.seeds import make_generator
from fedgin.train.experiment import Experiment, load_experiment

Batch = dict[str, Tensor]
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "gin, kernels of 1 pixel": ("gin", {"kernel_sizes": [1]}),
    "gin, kernels of 3 pixels": ("gin", {"kernel_sizes": [3]}),
    "gin, 2 layers": ("gin", {"layers": 2}),
    "gin, half as likely": ("gin", {"probability": 0.5}),
}


def main(
    site: Annotated[list[Path], typer.Argument(help="site.yaml; slices of its training cases are used.")],
    batches: Annotated[int, typer.Option(min=1, help="Batches of each site.")] = 12,
) -> None:
    """Print the share of refused draws of each method by site, and the filter's share of a training step."""
    torch.set_num_threads(1)
    experiment = load_experiment(JOB)
    drawn = [read_batches(path, experiment, batches) for path in site]
    table = Table("augmentation", *(path.parent.name for path in site), title="share of draws refused")
    plain: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in augmentation_names()}
    for name, (method, params) in (plain | VARIANTS).items():
        shares = (refused(QualityFilter(build_augmentation(method, **params)), images) for images in drawn)
        table.add_row(name, *(f"{share:.2f}" for share in shares))
    Console().print(table)
    Console().print(cost(experiment, drawn[0]))


def read_batches(path: Path, experiment: Experiment, count: int) -> list[Batch]:
    """Return batches of the job's size, of slices that show an organ."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = CaseCache(Path(scratch), experiment.preprocessing, experiment.organs)
        cases = [cache.get(case) for case in list_cases(load_site(path))[Split.TRAINING]]
        slices = [item for item in slices_of(cases) if item.shows]
        order = torch.randint(len(slices), (count, experiment.training.batch_size), generator=make_generator("slices"))
        return [
            {name: torch.stack([slices[i].read(name)[None] for i in row]) for name in ("image", "label", "body")}
            for row in order.tolist()
        ]


def refused(quality: QualityFilter, batches: list[Batch]) -> float:
    """Return the share of all draws for these batches that were refused."""
    for number, batch in enumerate(batches):
        filtered(quality, batch, number)
    return quality.refused


def filtered(quality: QualityFilter, batch: Batch, seed: int) -> list[Tensor]:
    guide = Guide(batch["label"], torch.zeros_like)
    return quality.guided_views(batch["image"], guide, gen=make_generator("benchmark", seed), body=batch["body"])


def cost(experiment: Experiment, batches: list[Batch]) -> str:
    """Return the medians of CPU time in words."""
    gin = build_augmentation("gin")
    quality, times = QualityFilter(gin), []
    step = training_step(experiment, batches[0]["image"])
    step(0)
    for number, batch in enumerate(batches):
        plain = partial(gin.views, batch["image"], gen=make_generator("benchmark", number))
        sides = (partial(step, 0), plain, partial(filtered, quality, batch, number))
        times.append([cpu_seconds(side) for side in sides])
    training, views, judged = (1e3 * statistics.median(taken) for taken in zip(*times, strict=True))
    share = 100 * (judged - views) / (training + views)
    return f"step {training:.0f} ms, GIN {views:.1f} ms, with the filter {judged:.1f} ms: {share:.1f} % of a step more"


if __name__ == "__main__":
    typer.run(main)
