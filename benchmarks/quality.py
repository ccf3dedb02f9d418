"""What the quality filter of augmentations refuses on real slices, what it leaves, and what it costs on the CPU.

    python -m benchmarks.quality runs/real_abdomen/ct-site/site.yaml runs/real_abdomen/mr-site/site.yaml

Network, batch, loss and optimiser are those of the abdomen job; the slices are of the sites' training cases and show an
organ. A step, its GIN views and its GIN views with the filter, redraws included, are timed in turn in this process.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks._clock import cpu_seconds
from benchmarks.methods import JOB, training_step
from fedgin.augment import augmentation_names, build_augmentation
from fedgin.augment.base import Augmentation
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
MATCHED: dict[str, dict[str, object]] = {"gin": {}, "gin, norm matched before mixing": {"match_norm_before_mix": True}}
# Correlation of grey values with the image's, from which on a view counts as alike.
ALIKE = 0.9


def main(
    site: Annotated[list[Path], typer.Argument(help="site.yaml; slices of its training cases are used.")],
    batches: Annotated[int, typer.Option(min=1, help="Batches of each site.")] = 12,
) -> None:
    """Print the share of refused draws by method and site, how like the image views are, and the filter's cost."""
    torch.set_num_threads(1)
    experiment = load_experiment(JOB)
    drawn = [read_batches(path, experiment, batches) for path in site]
    table = Table("augmentation", *(path.parent.name for path in site), title="share of draws refused")
    plain: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in augmentation_names()}
    for name, (method, params) in (plain | VARIANTS).items():
        shares = (refused(QualityFilter(build_augmentation(method, **params)), images) for images in drawn)
        table.add_row(name, *(f"{share:.2f}" for share in shares))
    Console().print(table)
    Console().print(likeness(drawn, [path.parent.name for path in site]))
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


def likeness(drawn: list[list[Batch]], sites: list[str]) -> Table:
    """Return how many views invert their image, and how many are much like it, without the filter and with it."""
    table = Table("views", *sites, title=f"share inverted (correlation below 0) / alike (above {ALIKE})")
    for name, params in MATCHED.items():
        gin = build_augmentation("gin", **params)
        for row, quality in {name: None, f"{name}, filter": QualityFilter(gin)}.items():
            shares = []
            for batches in drawn:
                found = torch.cat([correlations(gin, quality, batch, seed) for seed, batch in enumerate(batches)])
                shares.append(f"{(found < 0).float().mean():.2f} / {(found > ALIKE).float().mean():.2f}")
            table.add_row(row, *shares)
    return table


def correlations(gin: Augmentation[Any], quality: QualityFilter | None, batch: Batch, seed: int) -> Tensor:
    """Return the correlation of each view with its slice inside the body, [views]."""
    if quality is None:
        views = gin.views(batch["image"], gen=make_generator("benchmark", seed), body=batch["body"])
    else:
        views = filtered(quality, batch, seed)
    pairs = zip(batch["image"], views[0], batch["body"] > 0, strict=True)
    return torch.stack([torch.corrcoef(torch.stack([image[body], view[body]]))[0, 1] for image, view, body in pairs])


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
