"""A moving average of a federation's global models against the last one of them.

    python -m benchmarks.moving_average studies/recipe_slices.yaml federated-quality-all-seed42 --out runs/average

An arm of a study runs as in the study. The global model of each round is kept, and their averages are tested on the
study's test cases. Choose a study whose test cases are nobody's test cases, such as one of a fold.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.data.datalist import Split
from fedgin.data.prepare import choose_device
from fedgin.errors import ConfigError
from fedgin.flare.run.simulation import simulated_result
from fedgin.study.plan import load_study
from fedgin.study.planned_arm import PlannedArm, StudySites
from fedgin.train.checkpoint import load_checkpoint, load_weights
from fedgin.train.evaluate.evaluator import evaluate
from fedgin.train.evaluate.patient_values import subject_values

Weights = Mapping[str, Tensor]


def main(
    study: Annotated[Path, typer.Argument(help="STUDY.yaml.")],
    arm: Annotated[str, typer.Argument(help="Name of a federated arm.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
) -> None:
    """Run the arm and print the Dice of each average.

    Example: python -m benchmarks.moving_average studies/heart.yaml federated-gin-all-seed42 --out runs/average
    """
    sites = StudySites(load_study(study), out)
    found = [spec for spec in sites.arms() if spec.name == arm]
    if not found:
        raise ConfigError(f"the study has no arm {arm}", f"name one of {', '.join(spec.name for spec in sites.arms())}")
    setting = sites.setting(found[0]).staged()
    models = train(setting)
    averages = {"the last": models[-1]}
    averages |= {f"mean of the last {count}": last_mean(models, count) for count in (3, 5)}
    averages |= {f"moving average, {decay}": moving_average(models, decay) for decay in (0.5, 0.8)}
    table = Table("model", *setting.sites)
    for name, weights in averages.items():
        table.add_row(name, *(f"{dice:.4f}" for dice in score(setting, weights)))
    Console().print(table)


def train(setting: PlannedArm) -> list[Weights]:
    """Run the arm; return the global model after each round."""
    kept: list[Path] = []

    def keep(point: Mapping[str, float]) -> None:
        file = setting.home / f"global_{len(kept):03d}.pt"
        shutil.copyfile(simulated_result(setting.home / "flare").last_model, file)
        kept.append(file)

    setting.arm.train(setting.sites, setting.home, keep)
    models = [load_checkpoint(file, "model")["model"] for file in kept]
    # A round is reported while the next one's model may be there already, so that one file can come twice.
    return [model for number, model in enumerate(models) if not number or not _equal(model, models[number - 1])]


def _equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def last_mean(models: Sequence[Weights], count: int) -> dict[str, Tensor]:
    """Return the mean of the last models."""
    return {
        name: torch.stack([model[name].double() for model in models[-count:]]).mean(0).to(value.dtype)
        for name, value in models[-1].items()
    }


def moving_average(models: Sequence[Weights], decay: float) -> dict[str, Tensor]:
    """Return the average that begins with the first model and keeps ``decay`` of itself in each round, 0 to 1."""
    average = {name: value.double() for name, value in models[0].items()}
    for model in models[1:]:
        average = {name: decay * value + (1 - decay) * model[name].double() for name, value in average.items()}
    return {name: value.to(models[0][name].dtype) for name, value in average.items()}


def score(setting: PlannedArm, weights: Weights) -> list[float]:
    """Return each site's mean Dice over test patients, each the mean of its organs."""
    means = []
    for site in setting.sites.values():
        network = setting.arm.experiment.initial_network()
        load_weights(network, dict(weights), source="the average")
        cases, device = site.cases[Split.TEST], choose_device(site.contract)
        scores = evaluate(network, cases, device, in_one_piece=setting.arm.experiment.in_one_piece)
        means.append(mean(subject_values(scores).values()))
    return means


if __name__ == "__main__":
    typer.run(main)
