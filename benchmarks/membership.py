"""Membership inference from one update: can the server tell which cases a site trained on?

    python -m benchmarks.membership
    python -m benchmarks.membership --cases 2 --rounds 1    # only to see that it runs

A site of CT phantoms trains the abdomen job's network, made small, from its initial weights; the update is what it
sends. The attacker holds the received model, the update, the experiment, and candidate cases with labels: the site's
training cases (members) and as many of the same generator that nobody trained on. It scores each by the trained model's
loss, or by how far the loss fell. The privacy settings are applied to the one update. Only slices with an organ count.
The rate is constant, so that the updates after 1, 4 and 16 rounds are of one run; GIN is trained in a run of its own.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.attacks.membership import Attack, Scores, Separation, by_case, loss_drop, losses, low_loss, separation
from benchmarks.attacks.setting import SITE, privacy_settings, protected, small_experiment, write_attacked_site
from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData
from fedgin.train.batches import RoundPlan
from fedgin.train.checkpoint import averaged_weights, load_weights
from fedgin.train.experiment import Experiment
from fedgin.train.losses import build_loss
from fedgin.train.trainer import Trainer

ATTACKS: dict[str, Attack] = {"loss": low_loss, "loss drop": loss_drop}
SIDE, CHANNELS = 64, [8, 16, 32, 64]
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One attacked update: what it is of, the mean loss of members and others, and what each attack found."""

    arm: str
    steps: int
    member_loss: float
    other_loss: float
    slices: dict[str, Separation]
    cases: dict[str, Separation]


def main(
    cases: Annotated[int, typer.Option(min=2, help="Training cases, and as many that are not trained on.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to train; 1, 4, 16, ... are attacked.")] = 16,
    local_steps: Annotated[int, typer.Option(min=1, help="Steps of a round.")] = 40,
) -> None:
    """Attack a site's update under each setting and print a table.

    Example: python -m benchmarks.membership --cases 8 --rounds 16
    """
    torch.set_num_threads(1)  # small slices: a second thread costs more than it gives
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("none", "gin"):
            training = {"local_steps": local_steps, "batch_size": 8}
            experiment = small_experiment(name, SIDE, CHANNELS, training)
            data = write_attacked_site(Path(scratch), experiment, cases)
            for steps, trained in updates(experiment, data, rounds):
                rows += attack(experiment, data, steps, trained)
    title = f"{cases} members, {cases} others, batches of 8; area under the ROC curve [95 %], 0.5 is a guess"
    Console().print(as_table(title, rows))


def updates(experiment: Experiment, data: SiteData, rounds: int) -> Iterator[tuple[int, Weights]]:
    """Train, and give the number of steps and the trained weights before the first and after 1, 4, 16, ... rounds."""
    trainer = Trainer(experiment.initial_network(), experiment, torch.device("cpu"))
    yield 0, _copy(trainer)
    attacked = 1
    for number in range(rounds):
        trainer.network.train()
        trainer.train_round(data.cases[Split.TRAINING], RoundPlan(SITE, number, rounds))
        if number + 1 == attacked:
            yield attacked * experiment.training.steps, _copy(trainer)
            attacked *= 4


def attack(experiment: Experiment, data: SiteData, steps: int, trained: Weights) -> list[Row]:
    """Attack one update as it is and, where it is not empty, under each privacy setting."""
    received = averaged_weights(experiment.initial_network())
    update = {name: trained[name] - value for name, value in received.items()}
    sent = {"": update}
    if steps:
        sent |= {
            f", {name}": protected(update, received, privacy) for name, privacy in privacy_settings(update).items()
        }
    before = _losses(experiment, data, received)
    rows = []
    for name, difference in sent.items():
        model = {entry: value + difference.get(entry, 0.0) for entry, value in received.items()}
        after = _losses(experiment, data, model)
        rows.append(_row(f"{experiment.augmentation.name}{name}", steps, before, after))
    return rows


def as_table(title: str, rows: list[Row]) -> Table:
    table = Table("update", title=title)
    headings = [f"{name}, {unit}" for unit in ("slices", "cases") for name in ATTACKS]
    for heading in ("steps", "loss members / others", *headings, "found at 10 % false"):
        table.add_column(heading, justify="right")
    for row in rows:
        found = [*row.slices.values(), *row.cases.values()]
        cells = [f"{result.auc:.2f} [{result.low:.2f}, {result.high:.2f}]" for result in found]
        best = " / ".join(f"{result.tpr:.0%}" for result in row.slices.values())
        table.add_row(row.arm, str(row.steps), f"{row.member_loss:.2f} / {row.other_loss:.2f}", *cells, best)
    return table


def _row(arm: str, steps: int, before: tuple[Scores, Scores], after: tuple[Scores, Scores]) -> Row:
    scores = {name: [score(*pair) for pair in zip(before, after, strict=True)] for name, score in ATTACKS.items()}
    return Row(
        arm,
        steps,
        member_loss=float(np.concatenate(after[0]).mean()),
        other_loss=float(np.concatenate(after[1]).mean()),
        slices={name: separation(members, others) for name, (members, others) in scores.items()},
        cases={name: separation(by_case(members), by_case(others)) for name, (members, others) in scores.items()},
    )


def _losses(experiment: Experiment, data: SiteData, weights: Weights) -> tuple[Scores, Scores]:
    """Return the losses of members and of others."""
    network, loss = experiment.initial_network(), build_loss(experiment.loss)
    load_weights(network, weights, source="the attacked model")
    return losses(network, loss, data.cases[Split.TRAINING]), losses(network, loss, data.cases[Split.TEST])


def _copy(trainer: Trainer) -> Weights:
    return {name: value.detach().clone() for name, value in averaged_weights(trainer.network).items()}


if __name__ == "__main__":
    typer.run(main)
