"""What each network costs: weights, bytes a round, and milliseconds a training step, for slices and for volumes.

    python -m benchmarks.networks
    python -m benchmarks.networks --threads 1 --repeats 3

The networks have their default parameters, which are not of one size: a row says what a network costs, not how good it
is. Organs, loss and optimiser are those of the abdomen job. The networks are timed in turns in this process; CPU time
counts, and the best of the turns.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks._clock import best_of
from benchmarks.methods import random_targets
from fedgin.nets.registry import build_network, network_names
from fedgin.nets.settings import NetworkSettings, SpatialDims
from fedgin.seeds import make_generator
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment, load_experiment
from fedgin.train.losses import Targets
from fedgin.train.method_loss import MethodLoss, StepTargets

JOB = Path(__file__).resolve().parents[1] / "jobs/abdomen_fedavg/app/config/experiment.yaml"
# What all networks work on, each side a multiple of 32.
SHAPES: dict[SpatialDims, tuple[int, ...]] = {2: (16, 1, 128, 96), 3: (1, 1, 32, 64, 64)}
# A round of a site: the model comes, the update goes, each in float32.
BYTES = 2 * 4


def main(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    repeats: Annotated[int, typer.Option(min=2, help="Timed steps of each network.")] = 3,
) -> None:
    """Count the weights of every registered network and time its training step.

    Example: python -m benchmarks.networks --repeats 5
    """
    torch.set_num_threads(threads)
    experiment = load_experiment(JOB)
    table = Table(title=f"Steps of {' and '.join(str(list(shape)) for shape in SHAPES.values())}, {threads} threads")
    for heading in ("network", *(f"{what}, {dims}D" for dims in SHAPES for what in ("million weights", "MB", "ms"))):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    cells: dict[str, list[str]] = {name: [] for name in network_names()}
    for dims, shape in SHAPES.items():
        measured = [measure(name, experiment, dims, shape) for name in cells]
        seconds = best_of(repeats, *(step for _, step in measured))
        for row, (count, _), taken in zip(cells.values(), measured, seconds, strict=True):
            row += [f"{count / 1e6:.2f}", f"{BYTES * count / 1e6:.1f}", f"{1e3 * taken:.0f}"]
    for name, row in cells.items():
        table.add_row(name, *row)
    Console(width=160).print(table)


def measure(
    name: str, experiment: Experiment, dims: SpatialDims, shape: tuple[int, ...]
) -> tuple[int, Callable[[], object]]:
    """Return the number of values that a network sends, and its training step on random images and labels."""
    settings = NetworkSettings(name=name)
    network = build_network(settings, spatial_dims=dims, out_channels=experiment.classes, seed=0)
    step = training_step(network, experiment, torch.randn(shape, generator=make_generator("benchmark")))
    return sum(value.numel() for value in averaged_weights(network).values()), step


def training_step(
    network: nn.Module, experiment: Experiment, images: Tensor, *, half: bool = False
) -> Callable[[], object]:
    """Return a network's training step on these images and random labels; with ``half`` under autocast to bfloat16."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=experiment.training.learning_rate)
    loss = MethodLoss(experiment.loss, experiment.build_augmentation(), experiment.classes)
    targets: Targets = random_targets(experiment, images)

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = loss(network(images), StepTargets(targets, images))
        found.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    typer.run(main)
