"""A study's centralised arm against a bare PyTorch loop that makes the same optimiser steps.

    python -m benchmarks.study_arm runs/real_abdomen/mr-site/site.yaml

The loop has every slice in memory and makes the same batches, geometric changes, GIN draws, losses and AdamW steps.
The arm adds MONAI's engine, reading slices from the cache on disk, checks of each step, and a checkpoint each round.
Rounds of both alternate in this process; medians count. Both end with the same weights, or the benchmark fails.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import default_collate

from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.samples import SampleDataset
from fedgin.data.site import load_site
from fedgin.data.slices import slices_of
from fedgin.flare.jobs.job import load_job
from fedgin.train.batches import BatchMaker, RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.method_loss import MethodLoss
from fedgin.train.standalone import StandaloneRun, train_standalone
from fedgin.train.trainer import RoundResult, Trainer, learning_rate

JOB = Path(__file__).resolve().parents[1] / "jobs" / "abdomen_fedgin"
NAME = "benchmark"
CPU = torch.device("cpu")


def main(
    site: Annotated[Path, typer.Argument(help="site.yaml.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a round.")] = 20,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each.")] = 6,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; an arm of a study has one.")] = 1,
) -> None:
    """Time both and print their ratio.

    Example: python -m benchmarks.study_arm runs/real_abdomen/mr-site/site.yaml
    """
    torch.set_num_threads(threads)
    experiment = load_job(JOB).experiment
    training = experiment.training.model_copy(update={"local_steps": steps, "batch_size": 8})
    experiment = experiment.model_copy(update={"training": training})
    cases = prepare_site(load_site(site), experiment.preprocessing, experiment.organs).cases[Split.TRAINING]
    with tempfile.TemporaryDirectory() as scratch:
        run = StandaloneRun(NAME, cases, rounds, Path(scratch) / "alone.pt")
        race = _Race(experiment, run)
        network = train_standalone(experiment, run, CPU, after_round=race.after_round)
    if not all(torch.equal(a, b) for a, b in zip(network.parameters(), race.network.parameters(), strict=True)):
        raise RuntimeError("the two did not make the same steps")
    _print(race.arm, race.bare, steps)


class _Race:
    """After each round of the arm, makes the same round with nothing but PyTorch around the batches."""

    def __init__(self, experiment: Experiment, run: StandaloneRun) -> None:
        self.run = run
        self.trainer = Trainer(experiment.initial_network(), experiment, CPU)  # for its order of slices only
        dataset = SampleDataset(slices_of(run.cases))
        self.slices = [dataset[index] for index in range(len(dataset))]
        self.network = experiment.initial_network().train()
        self.experiment = experiment
        self.method = experiment.build_augmentation()
        self.loss = MethodLoss(experiment.loss, self.method, experiment.classes)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=experiment.training.weight_decay)
        self.arm: list[float] = []
        self.bare: list[float] = []
        self.started = time.perf_counter()

    def after_round(self, network: nn.Module, number: int, result: RoundResult) -> None:
        self.arm.append(time.perf_counter() - self.started)
        started = time.perf_counter()
        self._round(number)
        self.bare.append(time.perf_counter() - started)
        self.started = time.perf_counter()

    def _round(self, number: int) -> None:
        plan = RoundPlan(self.run.name, number, self.run.rounds)
        make = BatchMaker(self.network, self.experiment, self.method, plan)
        settings = self.experiment.training
        order = self.trainer.batches(self.run.cases, plan).batch_sampler
        for step, indices in enumerate(order or ()):
            images, targets = make(default_collate([self.slices[index] for index in indices]), CPU, False)
            done, total = number * settings.steps + step, self.run.rounds * settings.steps
            self.optimizer.param_groups[0]["lr"] = learning_rate(settings, done, total)
            self.optimizer.zero_grad()
            torch.autograd.backward(self.loss(self.network(images), targets))
            self.optimizer.step()


def _print(arm: list[float], bare: list[float], steps: int) -> None:
    # The first round of the arm holds what is done once, such as building the trainer.
    ratio = statistics.median(a / b for a, b in zip(arm[1:], bare[1:], strict=True))
    table = Table("round", "arm", "bare loop")
    for number, (first, second) in enumerate(zip(arm, bare, strict=True)):
        table.add_row(str(number + 1), f"{first:.2f} s", f"{second:.2f} s")
    Console().print(table)
    Console().print(f"an arm takes {ratio:.2f} times as long as the bare loop, {steps} steps a round, equal weights")


if __name__ == "__main__":
    typer.run(main)
