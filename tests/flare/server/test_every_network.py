"""Networks go from the server to a site and back as FLARE carries them, in the clear and encrypted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tenseal
import torch
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.fuel.utils import fobs

from fedgin.flare.client.weights import weights_from_shareable, weights_to_dxo
from fedgin.flare.server.model import initial_network
from fedgin.train.checkpoint import averaged_weights, load_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.decrypted import restore_weights
from tests.flare.runs import JOB
from tests.flare.server.encrypted import encrypt, make_keys
from tests.flare.server.updates import Server, constant, open_server, send
from tests.networks import TINY
from tests.sites import tiny_experiment

STEP = 0.25
# Smaller still, because each entry is a ciphertext of its own; what is encrypted does not depend on the architecture.
ENCRYPTED: dict[str, dict[str, Any]] = {
    "dynunet": {"channels": [4, 4, 4]},
    "mednext": {"init_filters": 4, "blocks": [1, 1], "expansions": [1, 1]},
    "resenc": {"channels": [4, 4], "blocks": [1, 1]},
}


def experiment_of(name: str, params: dict[str, Any], axes: int, *, encrypted: bool = False) -> Experiment:
    sizes = {2: {"spacing_mm": 3.0, "size": [32, 64]}, 3: {"spacing_mm": [3.0, 3.0, 3.0], "size": [32, 64, 32]}}
    return tiny_experiment(
        network={"name": name, "params": params},
        preprocessing=sizes[axes],
        federation={"max_norm_ratio": 1e12, "homomorphic_encryption": encrypted},
    )


def global_model(server: Server) -> dict[str, torch.Tensor]:
    config = Path(server.context.get_engine().get_workspace().get_app_config_dir(JOB))
    return dict(initial_network(str(config / "experiment.yaml")).state_dict())


def over_the_wire(message: Shareable) -> Shareable:
    flare_decomposers.register()
    sent: Shareable = fobs.loads(fobs.dumps(message))
    return sent


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", sorted(TINY))
def test_a_model_reaches_a_site_and_its_update_moves_the_model(name: str, axes: int, tmp_path: Path) -> None:
    experiment = experiment_of(name, TINY[name], axes)
    server = open_server(tmp_path, experiment)
    model = {entry: value.numpy() for entry, value in global_model(server).items()}
    received = weights_from_shareable(over_the_wire(weights_to_dxo(model, DataKind.WEIGHTS).to_shareable()), source="x")
    network = experiment.initial_network()
    before = {entry: value.clone() for entry, value in averaged_weights(network).items()}
    load_weights(network, {entry: torch.from_numpy(value) for entry, value in received.items()}, source="x")
    assert all(torch.equal(value, before[entry]) for entry, value in averaged_weights(network).items())
    update = over_the_wire(send("a", "CT", 10, constant(experiment, "CT", STEP)))
    mean = server.run_round(0, [update])
    assert not server.errors
    load_weights(network, {entry: before[entry] + torch.from_numpy(value) for entry, value in mean.items()}, source="x")
    moved = [torch.equal(value, before[entry] + STEP) for entry, value in averaged_weights(network).items()]
    assert moved
    assert all(moved)


@pytest.mark.parametrize("name", sorted(ENCRYPTED))
def test_an_encrypted_update_moves_the_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make_keys(tmp_path / "1.tenseal")
    monkeypatch.setattr("fedgin.flare.server.encryption.server_key", lambda fl_ctx: tenseal.context_from(keys[0]))
    experiment = experiment_of(name, ENCRYPTED[name], 2, encrypted=True)
    server = open_server(tmp_path / "server", experiment)
    data = constant(experiment, "CT", STEP)
    assert server.accept(encrypt("a", send("a", "CT", 10, data), keys[1])), server.errors
    mean = from_shareable(server.aggregator.aggregate(server.context)).data
    site = tenseal.context_from(keys[1])
    flat = {
        entry: torch.tensor(tenseal.ckks_vector_from(site, value.serialize()).decrypt())
        for entry, value in mean.items()
    }
    network = experiment.initial_network()
    load_weights(network, restore_weights(network, flat, source="x"), source="x")
    for value in averaged_weights(network).values():
        np.testing.assert_allclose(value.numpy(), STEP, atol=1e-5)
