"""The server's optimiser on the configuration that is derived; ``test_simulation.py`` has it in a federation."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.fuel.utils.class_utils import instantiate_class

from fedgin.flare.jobs.configuration import server_config
from fedgin.flare.jobs.numbers import Numbers
from fedgin.flare.server.model import initial_network
from fedgin.flare.server.server_optimizer import ServerOptimizer
from fedgin.train.experiment import Experiment
from tests.flare.runs import lay_out_server, make_context
from tests.sites import tiny_experiment

Weights = dict[str, NDArray[Any]]
TAU = 1e-3


class Server:
    """A server whose sites' mean differences the test makes up."""

    def __init__(self, folder: Path, algorithm: dict[str, object]) -> None:
        network = {"name": "unet", "normalisation": "dsbn", "params": {"channels": [4, 8], "residual_units": 0}}
        values = tiny_experiment(network=network).model_dump(mode="json") | {"federation": {"algorithm": algorithm}}
        experiment = Experiment.model_validate(values)
        context = make_context(lay_out_server(folder, experiment), "server")
        self.context: FLContext = context
        context.get_engine().build_component = lambda made: instantiate_class(made["path"], made["args"])
        config = server_config(Numbers(num_rounds=1, min_clients=1), experiment.federation)
        [args] = [part["args"] for part in config["components"] if part["id"] == "shareable_generator"]
        path = next(folder.rglob("experiment.yaml"))
        self.part = ServerOptimizer(copy.deepcopy(args["optimizer_args"]), source_model=initial_network(str(path)))
        self.part.handle_event(EventType.START_RUN, context)
        self.model: Weights = {name: value.numpy() for name, value in initial_network(str(path)).state_dict().items()}
        self.trained = {name for name, _ in initial_network(str(path)).named_parameters()}

    def round(self, mean: Weights) -> Weights:
        """Return the next global model."""
        learnable = make_model_learnable(self.model, {})
        self.context.set_prop(AppConstants.GLOBAL_MODEL, learnable, private=True, sticky=False)
        update = DXO(DataKind.WEIGHT_DIFF, data=mean).to_shareable()
        made = self.part.shareable_to_learnable(update, self.context)[ModelLearnableKey.WEIGHTS]
        self.model = {name: np.array(value) for name, value in made.items()}
        return self.model


def differences(model: Weights, seed: int, without: str = "") -> Weights:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0.0, 0.1, value.shape).astype(np.float32)
        for name, value in model.items()
        if np.issubdtype(value.dtype, np.floating) and not (without and without in name)
    }


def check(found: Weights, expected: Weights) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_without_momentum_and_with_rate_1_it_is_plain_averaging(tmp_path: Path) -> None:
    server = Server(tmp_path, {"name": "fedavgm", "momentum": 0.0})
    for seed in (1, 2):
        before, mean = server.model, differences(server.model, seed)
        check(server.round(mean), {name: before[name] + mean[name] for name in mean})


def test_momentum_moves_weights_on_and_leaves_statistics_averaged(tmp_path: Path) -> None:
    server = Server(tmp_path, {"name": "fedavgm", "learning_rate": 0.5, "momentum": 0.8})
    before = server.model
    first, second = (differences(before, seed) for seed in (1, 2))
    server.round(first)
    expected = {
        name: before[name] + 0.5 * (first[name] + 0.8 * first[name] + second[name])
        if name in server.trained
        else before[name] + first[name] + second[name]
        for name in first
    }
    assert 0 < len(server.trained) < len(expected)
    check(server.round(second), expected)


def test_adam_moves_every_weight_by_its_rate_at_first(tmp_path: Path) -> None:
    server = Server(tmp_path, {"name": "fedadam", "learning_rate": 0.02})
    before, mean = server.model, differences(server.model, 1)
    expected = {name: before[name] + 0.02 * mean[name] / (np.abs(mean[name]) + TAU) for name in server.trained}
    check(server.round(mean), expected)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_what_no_site_sent_in_a_round_stays_as_it_was(tmp_path: Path, name: str) -> None:
    """A round without an MR site; stock FLARE puts that modality's statistics back to their initial values."""
    server = Server(tmp_path, {"name": name})
    before = server.round(differences(server.model, 1))
    absent = {entry for entry in before if ".MR." in entry or ".mr." in entry}
    assert absent
    after = server.round({entry: v for entry, v in differences(before, 2).items() if entry not in absent})
    check(after, {entry: before[entry] for entry in absent})
