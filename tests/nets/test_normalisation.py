from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from fedgin.nets.dsbn import DomainBatchNorm, route
from fedgin.nets.normalisation import batch_norm_entries, normalise_with
from fedgin.nets.registry import build_network, network_names
from fedgin.nets.settings import NetworkSettings, Normalisation
from tests.networks import TINY

CHOICES: tuple[Normalisation, ...] = get_args(Normalisation)
KINDS = nn.InstanceNorm2d | nn.BatchNorm2d | nn.GroupNorm | DomainBatchNorm
GROUPED = ["mednext", "segresnet"]
EXPECTED = {
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "fedbn": nn.BatchNorm2d,
    "dsbn": DomainBatchNorm,
}


def build(name: str, normalisation: Normalisation) -> nn.Module:
    settings = NetworkSettings(name=name, normalisation=normalisation, params=TINY[name])
    return build_network(settings, spatial_dims=2, out_channels=3, seed=4)


def outermost(network: nn.Module) -> list[nn.Module]:
    """Return the normalisation layers, without the branches inside domain layers."""
    if isinstance(network, KINDS):
        return [network]
    return [layer for child in network.children() for layer in outermost(child)]


@pytest.mark.parametrize("normalisation", CHOICES)
@pytest.mark.parametrize("name", network_names())
def test_every_network_trains_and_evaluates_with_every_normalisation(name: str, normalisation: Normalisation) -> None:
    network = build(name, normalisation)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 1, 32, 64, generator=generator)
    losses = []
    for _ in range(2):
        route(network, ["CT", "MR", "CT"])
        outputs = network(x)
        finest = outputs if isinstance(outputs, torch.Tensor) else outputs[0]  # of a network with deep supervision
        loss = (finest - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    network.eval()
    with torch.no_grad():
        route(network, ["MR"])
        logits = network(x[:1])
    assert losses[0] != losses[1]
    assert logits.shape == (1, 3, 32, 64)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("normalisation", CHOICES)
@pytest.mark.parametrize("name", sorted(set(network_names()) - set(GROUPED)))
def test_every_layer_becomes_the_chosen_one(name: str, normalisation: Normalisation) -> None:
    layers = outermost(build(name, normalisation))
    assert layers
    assert {type(layer) for layer in layers} == {EXPECTED[normalisation]}


@pytest.mark.parametrize("name", GROUPED)
def test_group_normalisation_stays_for_instance_only(name: str) -> None:
    kinds = {choice: {type(layer) for layer in outermost(build(name, choice))} for choice in CHOICES}
    assert kinds == {"instance": {nn.GroupNorm}, **{key: {EXPECTED[key]} for key in ("batch", "fedbn", "dsbn")}}


@pytest.mark.parametrize("name", network_names())
def test_a_seed_gives_the_same_other_weights_whatever_the_normalisation(name: str) -> None:
    def others(network: nn.Module) -> list[Tensor]:
        return [value.detach() for value in network.parameters() if value.dim() > 1]

    first = others(build(name, "instance"))
    for normalisation in CHOICES[1:]:
        for mine, theirs in zip(first, others(build(name, normalisation)), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("normalisation", CHOICES)
def test_new_layers_start_as_the_identity_and_with_the_authors_constants(normalisation: Normalisation) -> None:
    network = normalise_with(
        nn.Sequential(nn.GroupNorm(2, 6), nn.BatchNorm2d(4, eps=1e-3, momentum=0.5)), normalisation, spatial_dims=2
    )
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
            assert (layer.eps, layer.momentum) == (1e-5, 0.1)
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


@pytest.mark.parametrize("normalisation", CHOICES)
def test_new_layers_start_like_those_that_they_replace(normalisation: Normalisation) -> None:
    """nnU-Net begins with residual blocks that add nothing: the last scale of each is 0."""
    old = nn.InstanceNorm2d(3, affine=True)
    nn.init.zeros_(old.weight)
    nn.init.constant_(old.bias, 2.0)
    network = normalise_with(nn.Sequential(old), normalisation, spatial_dims=2)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d | nn.BatchNorm2d)]
    assert len(layers) == (2 if normalisation == "dsbn" else 1)
    for layer in layers:
        assert layer.weight.tolist() == [0.0] * 3
        assert layer.bias.tolist() == [2.0] * 3


@pytest.mark.parametrize("normalisation", CHOICES)
def test_a_layer_with_two_names_stays_one_layer(normalisation: Normalisation) -> None:
    """As in the blocks of nnU-Net's networks."""
    network = nn.ModuleDict({"norm": (norm := nn.InstanceNorm2d(2)), "all": nn.Sequential(norm)})
    normalise_with(network, normalisation, spatial_dims=2)
    assert isinstance(network["all"], nn.Sequential)
    assert network["norm"] is network["all"][0] is not norm


@pytest.mark.parametrize("name", network_names())
def test_batch_norm_entries_are_all_that_instance_normalisation_does_not_share(name: str) -> None:
    network = build(name, "fedbn")
    entries = batch_norm_entries(network)
    assert entries <= network.state_dict().keys()
    rest = network.state_dict().keys() - entries
    assert not any("running" in entry or "num_batches" in entry for entry in rest)
    assert all(network.state_dict()[entry].dim() <= 1 for entry in entries)
    found = sum(isinstance(layer, nn.BatchNorm2d) for _, layer in network.named_modules(remove_duplicate=False))
    assert len(entries) == 5 * found > 0
