"""Train without a federation: one site (local) or several sites' data in one place (centralised)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fedgin.data.cache import CachedCase
from fedgin.errors import ConfigError
from fedgin.train.batches import RoundPlan
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, load_weights, save_checkpoint
from fedgin.train.experiment import Experiment
from fedgin.train.pretrained import start_from
from fedgin.train.trainer import RoundResult, Trainer

AfterRound = Callable[[nn.Module, int, RoundResult], None]


@dataclass(frozen=True)
class StandaloneRun:
    """A run without a federation.

    Attributes:
        name: the name of the random streams, such as the site's name.
        cases: what to train on.
        rounds: as many as the federation has.
        checkpoint: file that is written after each round; a run that finds it continues there.
        models: the folder with the file that the experiment starts from, where it starts from one.
    """

    name: str
    cases: Sequence[CachedCase]
    rounds: int
    checkpoint: Path
    models: Path | None = None


def train_standalone(
    experiment: Experiment,
    run: StandaloneRun,
    device: torch.device,
    *,
    after_round: AfterRound = lambda network, round_number, result: None,
) -> nn.Module:
    """Train and return the network of the last round.

    Args:
        experiment: the same as the federation's, so that steps, schedule and initial weights are equal.
        run: what is trained on and how long.
        device: where to compute.
        after_round: called after each round, for validation and progress. A run that is cut off in it does the round
            again when it continues.

    The optimiser keeps its moments over all rounds, whatever the experiment says of a site's: here a round is no visit
    to a server.

    Raises:
        ConfigError: the checkpoint is of another training.
        FedginError: as the trainer and the checkpoint.
    """
    network = experiment.initial_network()
    if experiment.starts_from:
        start_from(network, experiment.starts_from, run.models)
    trainer, key = Trainer(network, experiment, device), _key(experiment, run)
    for round_number in range(_restore(trainer, run, key), run.rounds):
        result = trainer.train_round(run.cases, RoundPlan(run.name, round_number, run.rounds))
        after_round(trainer.network, round_number, result)
        weights, optimizer = averaged_weights(trainer.network), trainer.optimizer_state()
        saved = {"round": round_number, "model": weights, "optimizer": optimizer, "key": key}
        save_checkpoint(run.checkpoint, saved)
    return trainer.network


def _key(experiment: Experiment, run: StandaloneRun) -> str:
    """Hash all that a training depends on; the cache's file names hash content and preprocessing."""
    parts = [experiment.model_dump_json(), run.name, str(run.rounds), *(case.path.name for case in run.cases)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _restore(trainer: Trainer, run: StandaloneRun, key: str) -> int:
    """Load the checkpoint when there is one; return the round to start with."""
    if not run.checkpoint.is_file():
        return 0
    saved = load_checkpoint(run.checkpoint, "round", "model", "optimizer", "key")
    if saved["key"] != key:
        raise ConfigError(
            f"{run.checkpoint.name} is of another training: settings, rounds, site or cases differ",
            "give another folder, or delete this one",
        )
    load_weights(trainer.network, saved["model"], source=run.checkpoint.name)
    trainer.restore_optimizer(saved["optimizer"])
    return int(saved["round"]) + 1
