"""Rounds of the real aggregator, without processes: updates of constant value, as a site's executor packs them."""

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FedEventHeader, FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.data.site import Modality
from fedgin.flare.jobs.checkpoint import CHECKPOINT
from fedgin.flare.protocol import AGGREGATED, CAUSE, MODALITY, OUTLIERS, TRAINED, UPDATE_REFUSED
from fedgin.flare.server.aggregator import ClientWeightedAggregator
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.sent_entries import sent_entries
from tests.flare.runs import JOB, came_from, lay_out_server, make_context, start
from tests.sites import tiny_experiment

Data = dict[str, np.ndarray]
SITES = ("a", "b", "c", "d")
# Of a site whose weight is no number of slices; any other has as many as it claims.
COUNTS = {"cases": 1, "of_cases": 2, "slices": 5, "of_slices": 12}


def experiment_for(normalisation: str = "instance", **federation: Any) -> Experiment:
    """Return the tiny experiment with a federation; sizes are not compared unless asked."""
    network = {"name": "unet", "normalisation": normalisation, "params": {"channels": [4, 8], "residual_units": 0}}
    values = {"max_norm_ratio": 1e12, **federation}
    return tiny_experiment(network=network, federation=values)


def constant(experiment: Experiment, modality: str, value: float, branch: float | None = None) -> Data:
    """Return an update with the same value everywhere, or with another one in the modality's own branches."""
    return {
        name: np.full(shape, value if branch is None or f".{modality}." not in name else branch, np.float32)
        for name, shape in _sent_shapes(experiment.model_dump_json(), Modality(modality)).items()
    }


@functools.cache  # by text, as an experiment has no hash; to build the network takes longer than to average it
def _sent_shapes(experiment: str, modality: Modality) -> dict[str, tuple[int, ...]]:
    made = Experiment.model_validate_json(experiment)
    network = made.initial_network()
    names = sent_entries(network, made.network.normalisation, modality)
    return {name: tuple(entry.shape) for name, entry in averaged_weights(network).items() if name in names}


def counts_for(weight: object) -> dict[str, int]:
    """Return counts that go with a claim, where it is possible at all."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 1 <= weight <= 1e9:
        return COUNTS
    return {**COUNTS, "slices": min(COUNTS["slices"], int(weight)), "of_slices": int(weight)}


def send(site: str, modality: object, weight: object, data: object, number: object = 0, **meta: object) -> Shareable:
    """Pack an update as the executor does; ``meta`` replaces what it says."""
    values = {MetaKey.NUM_STEPS_CURRENT_ROUND: weight, MODALITY: modality, TRAINED: counts_for(weight), **meta}
    dxo = DXO(DataKind.WEIGHT_DIFF, data={}, meta=values)
    dxo.data = data  # DXO checks its type when it is made, but not when it is read from a message
    shareable = dxo.to_shareable()
    came_from(site, shareable)
    shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, number)
    return shareable


@dataclass
class Server:
    """The aggregator in a run whose events are recorded.

    Attributes:
        aggregator: under test.
        context: of the run.
        errors: log lines.
        told: site and reason of each refusal that was sent to its site.
        panics: reasons for which the job was stopped.
    """

    aggregator: ClientWeightedAggregator
    context: FLContext
    errors: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    panics: list[str] = field(default_factory=list)

    def open_round(self, number: int) -> None:
        """Start a round as the controller does."""
        self.context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=False)
        self.aggregator.handle_event(AppEventType.ROUND_STARTED, self.context)

    def accept(self, shareable: Shareable) -> bool:
        """Hand over an update."""
        return self.aggregator.accept(shareable, self.context)

    def close_round(self) -> Data:
        """Return the average."""
        data: Data = from_shareable(self.aggregator.aggregate(self.context)).data
        return data

    def run_round(self, number: int, updates: Sequence[Shareable]) -> Data:
        """Do a whole round, whatever becomes of the updates."""
        self.open_round(number)
        for update in updates:
            self.accept(update)
        return self.close_round()

    @property
    def outliers(self) -> list[str]:
        """Sites whose size was refused when the round was closed."""
        return [item.site for item in self.context.get_prop(OUTLIERS)]

    @property
    def aggregated(self) -> bool:
        """Whether the last round made an average."""
        return bool(self.context.get_prop(AGGREGATED))


def open_server(
    folder: Path,
    experiment: Experiment,
    *,
    min_clients: int = 1,
    sites: Sequence[str] = SITES,
    checkpoint: Path | None = None,
) -> Server:
    """Start a run of the aggregator with its first round open; ``checkpoint`` is of the job that it resumes."""
    workspace = lay_out_server(folder, experiment, min_clients)
    if checkpoint:
        shutil.copyfile(checkpoint, Path(workspace.get_app_config_dir(JOB)) / CHECKPOINT)
    context = make_context(workspace, "server", sites)
    aggregator = ClientWeightedAggregator(str(Path(workspace.get_app_config_dir(JOB)) / "experiment.yaml"))
    server = Server(aggregator, context)
    _record(server)
    start(aggregator, context)
    server.open_round(0)
    return server


def _record(server: Server) -> None:
    def fire(event: str, fl_ctx: FLContext) -> None:
        data = fl_ctx.get_prop(FLContextKey.EVENT_DATA)
        if event == UPDATE_REFUSED:
            (site,) = data.get_header(FedEventHeader.TARGETS)
            server.told.append((site, str(data.get_header(CAUSE))))
        elif event == EventType.FATAL_SYSTEM_ERROR:
            server.panics.append(str(data))

    server.context.get_engine().fire_event = fire
    server.aggregator.log_error = lambda _context, line, **_: server.errors.append(line)
