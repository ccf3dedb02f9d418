"""Dice of the global model when one of four sites sends bad updates, with the guard and without it.

    python -m benchmarks.poisoning
    python -m benchmarks.poisoning --rounds 12

Two CT and two MR sites with small block phantoms train in this process; the updates go through the server's real
aggregator, or through FLARE's stock one alone. Both weigh by samples, so that without a bad site they do the same. The
bad site trains honestly and then changes its whole update, in every round.

Refused updates cost what the site's data would have added: the row "no fourth site" is what is left to win. A
sign-flipped update has an ordinary size and every entry in place. The guard lets it in, with and without it the model
suffers alike; telling it from an honest update would need a rule about directions, which CT and MR sites differ in too.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from nvflare.apis.dxo import DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.aggregator import Aggregator
from nvflare.app_common.aggregators import InTimeAccumulateWeightedAggregator
from nvflare.app_common.aggregators.weighted_aggregation_helper import AggregationStatsKey
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.data.site import load_site
from fedgin.errors import WeightsError
from fedgin.flare.client.weights import weights_to_dxo
from fedgin.flare.protocol import MODALITY, TRAINED
from fedgin.flare.server.aggregator import ClientWeightedAggregator
from fedgin.phantoms.blocks import EXPERIMENT, write_block_site
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import LocalUpdate
from poc.run_context import JOB, came_from, lay_out_server, make_context

SITES = {"ct-a": "CT", "ct-b": "CT", "mr-a": "MR", "mr-b": "MR"}
BAD_SITE = "mr-b"
ABSENT = "no fourth site"
LOCAL_STEPS = 10

Weights = Mapping[str, Tensor]
Change = Callable[[Tensor], Tensor]
ATTACKS: dict[str, Change] = {
    "honest": lambda value: value,
    "NaN": lambda value: torch.full_like(value, torch.nan),
    "zeros": torch.zeros_like,
    "100-fold": lambda value: 100 * value,
    "sign-flipped": lambda value: -value,
}


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        dice: of the final global model on the test cases, the mean over all four sites; NaN when a site could not load
            the model.
        refused: updates that the aggregator did not take.
        spread: largest quotient of two sites' update sizes in a round.
    """

    dice: float
    refused: int
    spread: float


def main(rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 6) -> None:
    """Run every attack with and without the guard and print a table.

    Example: python -m benchmarks.poisoning --rounds 12
    """
    torch.set_num_threads(1)
    table = Table("the fourth site sends", "Dice, stock FLARE", "Dice, guard", "refused by the guard")
    with tempfile.TemporaryDirectory() as scratch:
        for number, site in enumerate(SITES):
            write_block_site(Path(scratch) / "sites" / site, site, SITES[site], counts=(2, 1, 1), seed=10 * number)
        for attack in [*ATTACKS, ABSENT]:
            stock, guarded = (run(Path(scratch), attack, rounds, guard=guard) for guard in (False, True))
            table.add_row(attack, _show(stock), _show(guarded), f"{guarded.refused} of {rounds}")
            if attack == "honest":
                table.caption = f"sizes of honest updates of a round differ by a factor of up to {guarded.spread:.2f}"
    Console().print(table)


def run(folder: Path, attack: str, rounds: int, *, guard: bool) -> Outcome:
    """Federate the sites in this process."""
    training = {"local_steps": LOCAL_STEPS, "batch_size": 8, "learning_rate": 1e-2}
    experiment = Experiment.model_validate(
        EXPERIMENT | {"training": training, "federation": {"client_weighting": "samples"}}
    )
    place = folder / f"{attack}-{guard}"
    sessions = {
        site: SiteSession(experiment, load_site(folder / "sites" / site / "site.yaml"), place / site) for site in SITES
    }
    members = {site: session for site, session in sessions.items() if site != BAD_SITE or attack != ABSENT}
    server = Server(place, experiment, guard=guard)
    weights: Weights = averaged_weights(experiment.initial_network())
    spread = 1.0
    try:
        for number in range(rounds):
            updates = {site: session.train(weights, number, rounds, stop=never) for site, session in members.items()}
            sizes = [_norm(update.difference) for update in updates.values()]
            spread = max(spread, max(sizes) / min(sizes))
            average = server.run_round(number, updates, ATTACKS.get(attack, ATTACKS["honest"]))
            weights = {name: value + average[name] for name, value in weights.items()}
        dice = [session.validate(weights, "global", stop=never)["test_dice_mean"] for session in sessions.values()]
    except WeightsError:  # the sites refuse a global model with NaN
        dice = [math.nan]
    return Outcome(sum(dice) / len(dice), server.refused, spread)


class Server:
    """The server's aggregator, with what a running job gives it.

    Args:
        folder: of the run.
        experiment: of the job.
        guard: whether updates are judged; otherwise FLARE's stock aggregator takes them as they come.
    """

    def __init__(self, folder: Path, experiment: Experiment, *, guard: bool) -> None:
        workspace = lay_out_server(folder / "server", experiment, min_clients=3)
        self.context = make_context(workspace, "server", list(SITES))
        path = Path(workspace.get_app_config_dir(JOB)) / "experiment.yaml"
        self.aggregator: Aggregator = (
            ClientWeightedAggregator(str(path)) if guard else InTimeAccumulateWeightedAggregator()
        )
        self.aggregator.handle_event(EventType.START_RUN, self.context)
        self.refused = 0

    def run_round(self, number: int, updates: Mapping[str, LocalUpdate[Tensor]], change: Change) -> Weights:
        """Return the average of a round in which the bad site changes what it sends."""
        self.context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=False)
        self.aggregator.handle_event(AppEventType.ROUND_STARTED, self.context)
        for site, update in updates.items():
            self.aggregator.accept(_pack(site, number, update, change if site == BAD_SITE else None), self.context)
        data = from_shareable(self.aggregator.aggregate(self.context)).data
        contributed = self.context.get_prop(AppConstants.AGGREGATION_STATS)[AggregationStatsKey.ACCEPTED_CONTRIBUTIONS]
        self.refused += len(updates) - contributed
        return {name: torch.from_numpy(np.asarray(value)) for name, value in data.items()}


def never() -> bool:
    """Let a task go on."""
    return False


def _pack(site: str, number: int, update: LocalUpdate[Tensor], change: Change | None) -> Shareable:
    difference = {name: (change(value) if change else value).numpy() for name, value in update.difference.items()}
    meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: update.weight, MODALITY: SITES[site], TRAINED: update.trained}
    shareable: Shareable = weights_to_dxo(difference, DataKind.WEIGHT_DIFF, meta).to_shareable()
    came_from(site, shareable)
    shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, number)
    return shareable


def _norm(difference: Weights) -> float:
    return math.sqrt(sum(float(value.double().square().sum()) for value in difference.values()))


def _show(outcome: Outcome) -> str:
    return "no model (NaN)" if math.isnan(outcome.dice) else f"{outcome.dice:.3f}"


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    typer.run(main)
