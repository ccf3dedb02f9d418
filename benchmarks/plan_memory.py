"""Peak memory of a training process of planned networks, beside the bound that ``fedgin plan`` computes for it."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks._clock import ROOT, peak_mb
from fedgin.planning.memory import training_bytes
from fedgin.planning.topology import Topology, plan_topology
from fedgin.train.batches import BatchMaker, RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.trainer import Trainer


@dataclass(frozen=True)
class Setting:
    """What a network sees, in the order that it sees it: (z, x, y) of a patch, (x, y) of a slice."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    organs: int
    batch: int

    @property
    def topology(self) -> Topology:
        """The planned network."""
        return plan_topology(self.size, self.spacing)

    @property
    def bound_mb(self) -> float:
        """What the plan computes, in MB of 2^20 bytes."""
        needed = training_bytes(self.size, self.topology, classes=self.organs + 1, batch=self.batch)
        return needed / 2**20


SETTINGS = (
    Setting((16, 16, 16), (2.0, 2.0, 2.0), 2, 2),
    Setting((64, 64, 64), (1.5, 1.5, 1.5), 6, 2),
    Setting((16, 96, 96), (5.0, 1.4, 1.4), 13, 2),
    Setting((48, 160, 112), (4.5, 2.0, 2.0), 6, 2),
    Setting((256, 256), (1.0, 1.0), 6, 4),
    Setting((128, 96), (2.8, 2.8), 4, 16),
)


def main(only: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Train two steps of each planned network, with GIN, in a process of its own on one thread of the CPU.

    Exit code 1 when a process takes more than its bound.

    Example: python -m benchmarks.plan_memory
    """
    if only is not None:
        print(json.dumps(_measure(SETTINGS[only])))
        return
    table = Table("what it sees", "batch", "levels", "organs", "measured MB", "bound MB", "share")
    shares = []
    for number, setting in enumerate(SETTINGS):
        # A process inherits the peak memory of the one that starts it: this one has trained nothing.
        command = [sys.executable, "-m", "benchmarks.plan_memory", "--only", str(number)]
        measured = float(json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout))
        shares.append(measured / setting.bound_mb)
        size, levels = " x ".join(map(str, setting.size)), setting.topology.levels
        counts = (str(setting.batch), str(levels), str(setting.organs))
        table.add_row(size, *counts, f"{measured:.0f}", f"{setting.bound_mb:.0f}", f"{shares[-1]:.2f}")
    Console().print(table)
    raise typer.Exit(max(shares) > 1.0)


def _measure(setting: Setting) -> float:
    torch.set_num_threads(1)
    experiment = _experiment(setting)
    trainer = Trainer(experiment.initial_network(), experiment, torch.device("cpu"))
    make = BatchMaker(trainer.network, experiment, trainer.augmentation, RoundPlan("a", 0, 1))
    shape = (setting.batch, 1, *setting.size)
    for _ in range(2):
        label = torch.randint(0, experiment.classes, shape)
        labelled = torch.tensor([[True] * setting.organs + [False]] * setting.batch)
        batch = {"image": torch.randn(shape), "label": label, "body": torch.ones(shape, dtype=torch.bool)}
        image, targets = make(batch | {"labelled": labelled, "modality": ["CT"] * setting.batch}, trainer.device, False)
        trainer.optimizer.zero_grad()
        trainer.loss(trainer.network(image), targets).backward()
        trainer.optimizer.step()
    return peak_mb()


def _experiment(setting: Setting) -> Experiment:
    topology = setting.topology
    z, x, y = (*setting.size,) if len(setting.size) == 3 else (None, *setting.size)
    params = {"channels": topology.channels, "strides": topology.strides, "kernel_sizes": topology.kernels}
    values = {
        "name": "planned",
        "organs": [f"organ_{number}" for number in range(setting.organs)],
        "preprocessing": {
            "spacing_mm": (*setting.spacing[1:], setting.spacing[0]) if z else setting.spacing[0],
            "size": [side for side in (x, y, z) if side],
        },
        "network": {"name": "dynunet", "params": {key: _listed(value) for key, value in params.items()}},
        "augmentation": {"name": "gin"},
        "training": {"batch_size": setting.batch},
    }
    experiment = Experiment.model_validate(values)
    assert math.prod(experiment.preprocessing.network_size) == math.prod(setting.size)
    return experiment


def _listed(values: object) -> object:
    return [_listed(value) for value in values] if isinstance(values, tuple) else values


if __name__ == "__main__":
    typer.run(main)
