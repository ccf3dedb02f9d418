"""FedProx at a site: the term itself, and what it does to a round."""

import copy
from pathlib import Path

import pytest
import torch
from nvflare.app_opt.pt.fedproxloss import PTFedProxLoss
from torch import Tensor, nn

from fedgin.data.site import load_site
from fedgin.train.experiment import Experiment
from fedgin.train.proximal import ProximalLoss
from fedgin.train.site.session import SiteSession
from tests.sites import tiny_experiment, write_site


class Mean(nn.Module):
    def forward(self, outputs: Tensor, targets: object) -> Tensor:
        return outputs.mean()


def test_the_term_and_its_gradient_are_those_of_flares_part() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    received, outputs = copy.deepcopy(network), torch.zeros(2, requires_grad=True)
    loss = ProximalLoss(Mean(), network, 0.3)
    assert loss(outputs, None) == 0.0
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn_like(weights))
    names = list(network.parameters())
    found, expected = loss(outputs, None), PTFedProxLoss(0.3)(network, received)
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad(found, names), torch.autograd.grad(expected, names), strict=True):
        torch.testing.assert_close(one, other)


def size_of_update(folder: Path, algorithm: dict[str, object]) -> float:
    values = tiny_experiment(training={"local_steps": 6, "batch_size": 4}).model_dump(mode="json")
    experiment = Experiment.model_validate(values | {"federation": {"algorithm": algorithm}})
    session = SiteSession(experiment, load_site(write_site(folder / "site", "a", "MR")), folder / "run")
    weights = experiment.initial_network().state_dict()
    update = session.train(weights, 0, 1, stop=lambda: False)
    return float(torch.stack([value.square().sum() for value in update.difference.values()]).sum().sqrt())


def test_a_site_stays_nearer_to_what_it_received_the_larger_mu_is(tmp_path: Path) -> None:
    free = size_of_update(tmp_path / "free", {"name": "fedavg"})
    held = size_of_update(tmp_path / "held", {"name": "fedprox", "mu": 1.0})
    tight = size_of_update(tmp_path / "tight", {"name": "fedprox", "mu": 10.0})
    assert tight < held < free


@pytest.mark.parametrize(
    ("algorithm", "named"),
    [
        ({"name": "fedavg", "mu": 0.1}, "fedavg has no mu: it takes no parameter"),
        ({"name": "fedprox", "momentum": 0.1}, "fedprox has no momentum: it takes mu"),
        ({"name": "fedadam", "mu": 0.1}, "fedadam has no mu: it takes learning_rate and momentum"),
    ],
)
def test_a_parameter_of_another_algorithm_is_refused(algorithm: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        tiny_experiment(federation={"algorithm": algorithm})


def test_a_server_that_cannot_read_updates_does_not_optimise() -> None:
    federation = {"homomorphic_encryption": True, "algorithm": {"name": "fedadam"}}
    with pytest.raises(ValueError, match="fedadam needs updates that the server can read"):
        tiny_experiment(federation=federation)
