"""What each privacy setting costs in Dice, on phantoms, with epsilon beside it.

    python -m benchmarks.privacy
    python -m benchmarks.privacy --rounds 2 --local-steps 2    # only to see that it runs

A CT and an MR site of procedural phantoms train the abdomen job's network in this process, once for each setting, with
the same seed. The clipping norm is the median norm of the updates of the run without protection. Every site adds its
own noise. Phantoms are easy: what fails here fails on patients, what works here need not.
"""

import math
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.data.site import Modality, SiteContract, load_site
from fedgin.phantoms.site import BTCV_LABELS, CHAOS_LABELS, write_site
from fedgin.phantoms.subject import PhantomSite
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment, load_experiment
from fedgin.train.privacy.gate import EPSILON
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import LocalUpdate

JOB = Path(__file__).resolve().parents[1] / "jobs/abdomen_fedgin/app/config/experiment.yaml"
SITES = (
    PhantomSite("ct", Modality.CT, 4, 1, 1, 7, BTCV_LABELS, in_plane_mm=3.0),
    PhantomSite("mr", Modality.MR, 4, 1, 1, 7, CHAOS_LABELS, in_plane_mm=3.0),
)
MULTIPLIERS = (0.001, 0.003, 0.01, 1.0)
DELTA = 1e-5
NO_BUDGET = 1e15


@dataclass(frozen=True)
class Outcome:
    """A federation under one setting.

    Attributes:
        dice: mean over the sites' test cases of the last global model.
        epsilon: of one site; 0 where nothing was noised.
        first: the first round's updates by site, to compare the directions.
        norms: of all updates sent.
    """

    dice: float
    epsilon: float
    first: dict[str, dict[str, Tensor]]
    norms: list[float]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 6,
    local_steps: Annotated[int, typer.Option(min=1, help="Steps of a site in a round.")] = 20,
) -> None:
    """Run the federation under every setting and print a table.

    Example: python -m benchmarks.privacy --rounds 6
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        contracts = [load_site(write_site(folder / site.name, site)) for site in SITES]
        experiment = _experiment(local_steps)
        plain = federate(experiment, contracts, None, rounds, folder / "runs" / "none")
        outcomes = {"none": plain}
        for name, privacy in track(settings_beside(experiment, statistics.median(plain.norms)).items()):
            outcomes[name] = federate(experiment, contracts, privacy, rounds, folder / "runs" / str(len(outcomes)))
    values = sum(value.numel() for value in averaged_weights(experiment.initial_network()).values())
    title = f"{rounds} rounds of {local_steps} steps, two sites, {values} weights, delta {DELTA:g}"
    Console().print(as_table(title, outcomes))


def settings_beside(experiment: Experiment, norm: float) -> dict[str, Privacy]:
    """Return the settings that are compared, around the usual norm of an update."""
    output = list(averaged_weights(experiment.initial_network()))[-1].rpartition(".")[0]
    settings = {f"clip to {share * norm:.3g}": Privacy(clip_norm=share * norm) for share in (1.0, 0.3)}
    for multiplier in MULTIPLIERS:
        settings[f"clip to {norm:.3g}, noise multiplier {multiplier:g}"] = Privacy(
            clip_norm=norm, noise_multiplier=multiplier, delta=DELTA, epsilon_budget=NO_BUDGET
        )
    for percent in (10.0, 1.0):
        settings[f"largest {percent:g} %"] = Privacy(keep_largest_percent=percent)
    return settings | {f"without {output}": Privacy(exclude_layers=(output,))}


def federate(
    experiment: Experiment, contracts: list[SiteContract], privacy: Privacy | None, rounds: int, folder: Path
) -> Outcome:
    """Average the sites' updates for some rounds, each entry over the sites that send it."""
    sessions = {
        contract.site: SiteSession(experiment, contract.model_copy(update={"privacy": privacy}), folder / contract.site)
        for contract in contracts
    }
    weights = averaged_weights(experiment.initial_network())
    history: list[dict[str, LocalUpdate[Tensor]]] = []
    for number in range(rounds):
        history.append(
            {name: session.train(weights, number, rounds, stop=lambda: False) for name, session in sessions.items()}
        )
        weights = {name: value + _mean(name, value, history[-1]) for name, value in weights.items()}
    scores = [session.validate(weights, "last", stop=lambda: False) for session in sessions.values()]
    for contract in contracts:
        # Every setting is a federation of its own; a real ledger counts all of them.
        shutil.rmtree(contract.cache_dir.parent / "fedgin-privacy", ignore_errors=True)
    return Outcome(
        statistics.fmean(score["test_dice_mean"] for score in scores),
        max(update.metrics.get(EPSILON, 0.0) for update in history[-1].values()),
        {name: update.difference for name, update in history[0].items()},
        [float(_flat(update.difference).norm()) for updates in history for update in updates.values()],
    )


def as_table(title: str, outcomes: Mapping[str, Outcome]) -> Table:
    table = Table("setting", title=title)
    for heading in ("test Dice", "cosine to the trained update", "norm sent", "epsilon"):
        table.add_column(heading, justify="right")
    for name, outcome in outcomes.items():
        table.add_row(
            name,
            f"{outcome.dice:.3f}",
            f"{_cosine(outcomes['none'].first, outcome.first):.4f}",
            f"{statistics.median(outcome.norms):.3g}",
            f"{outcome.epsilon:.3g}" if outcome.epsilon else "none stated",
        )
    return table


def _experiment(local_steps: int) -> Experiment:
    """Return the abdomen job on fewer pixels, narrower, without an augmentation: the whole table takes minutes."""
    values = load_experiment(JOB).model_dump(mode="json")
    values["preprocessing"] |= {"spacing_mm": 6.0, "size": [64, 64]}
    values["training"] |= {"local_steps": local_steps, "batch_size": 6}
    values["network"]["params"] = {"channels": [8, 16, 32, 64]}
    return Experiment.model_validate(values | {"augmentation": {"name": "none"}})


def _mean(name: str, like: Tensor, updates: Mapping[str, LocalUpdate[Tensor]]) -> Tensor:
    sent = [(update.weight, update.difference[name]) for update in updates.values() if name in update.difference]
    total = sum(weight for weight, _ in sent)
    return sum((weight / total * value for weight, value in sent), torch.zeros_like(like))


def _cosine(trained: Mapping[str, Mapping[str, Tensor]], sent: Mapping[str, Mapping[str, Tensor]]) -> float:
    """Compare the first round, in which all settings trained from the same weights; what is not sent counts as 0."""
    cosines = []
    for site, update in trained.items():
        full = {name: sent[site].get(name, torch.zeros_like(value)) for name, value in update.items()}
        cosines.append(float(torch.cosine_similarity(_flat(update), _flat(full), dim=0)))
    return math.fsum(cosines) / len(cosines)


def _flat(update: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in update.values()]).double()


if __name__ == "__main__":
    typer.run(main)
