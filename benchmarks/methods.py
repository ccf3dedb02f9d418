"""What each augmentation costs a training step on the CPU, beside GIN and beside the step itself.

    python -m benchmarks.methods
    python -m benchmarks.methods --threads 1 --repeats 50

Batch, network, loss and optimiser are those of the abdomen job. Everything is timed in turn in this process, once a
repeat and with a new draw each time, because a draw decides how much there is to compute; the median counts. A method
with several views makes the step itself longer too, which only its number of views tells here.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.augment import augmentation_names, build_augmentation
from fedgin.augment.hooks import Guide
from fedgin.seeds import make_generator
from fedgin.train.batches import loss_gradient
from fedgin.train.experiment import Experiment, load_experiment
from fedgin.train.losses import Targets, build_loss

JOB = Path(__file__).resolve().parents[1] / "jobs/abdomen_fedgin/app/config/experiment.yaml"
REFERENCE = "gin"
STEP = "training step"

Side = Callable[[int], object]


def main(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each method.")] = 30,
) -> None:
    """Time every registered augmentation with its default settings.

    Example: python -m benchmarks.methods --threads 1
    """
    torch.set_num_threads(threads)
    experiment = load_experiment(JOB)
    shape = (experiment.training.batch_size, 1, *experiment.preprocessing.network_size)
    images = torch.randn(shape, generator=make_generator("benchmark"))
    guide = as_training_does(experiment, images)
    sides = {name: augment(name, images, guide) for name in augmentation_names()}
    medians = median_times(sides | {STEP: training_step(experiment, images)}, repeats)
    title = f"Augmentations of a batch {list(shape)}, CPU, {threads} threads, median of {repeats} draws"
    Console().print(as_table(title, medians, {name: len(sides[name](0)) for name in sides}))


def augment(name: str, images: Tensor, guide: Guide) -> Callable[[int], list[Tensor]]:
    """Return what training calls each step: all views of one batch, from a seed."""
    method = build_augmentation(name)
    return lambda seed: method.guided_views(images, guide, gen=make_generator("benchmark", name, seed))


def random_targets(experiment: Experiment, images: Tensor) -> Targets:
    """Return random labels of all organs."""
    labels = torch.randint(experiment.classes, images.shape, generator=make_generator("labels"))
    return Targets(labels, torch.ones(len(images), experiment.classes, dtype=torch.bool))


def as_training_does(experiment: Experiment, images: Tensor) -> Guide:
    """Return random labels and the gradient of the job's network, for methods that look at them."""
    net, loss, targets = experiment.initial_network(), build_loss(experiment.loss), random_targets(experiment, images)
    return Guide(targets.label, gradient=lambda shown: loss_gradient(net, loss, shown, targets))


def training_step(experiment: Experiment, images: Tensor) -> Side:
    """Return one step of the job's network on these images, a single view, with random labels."""
    net = experiment.initial_network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=experiment.training.learning_rate)
    loss, targets = build_loss(experiment.loss), random_targets(experiment, images)

    def step(_: int) -> None:
        optimizer.zero_grad()
        loss(net(images), targets).backward()
        optimizer.step()

    return step


def median_times(sides: dict[str, Side], repeats: int) -> dict[str, float]:
    """Call the sides in turn, once untimed; return each one's median in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side(turn)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def as_table(title: str, medians: dict[str, float], views: dict[str, int]) -> Table:
    table = Table(title=title)
    for heading in ("method", "views", "ms", "times GIN", "share of a step"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, milliseconds in sorted(medians.items(), key=lambda row: row[1]):
        table.add_row(
            name,
            str(views.get(name, "")),
            f"{milliseconds:.1f}",
            f"{milliseconds / medians[REFERENCE]:.2f}",
            f"{100 * milliseconds / medians[STEP]:.1f} %",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
