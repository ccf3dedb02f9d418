import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedgin.data.site import Modality
from fedgin.nets.dsbn import MODALITIES, DomainBatchNorm, branch_entries, route
from fedgin.nets.registry import build_network
from fedgin.nets.settings import NetworkSettings


def different_branches(channels: int = 3) -> DomainBatchNorm:
    """Return a layer whose branches differ in everything."""
    layer = DomainBatchNorm(2, channels)
    generator = torch.Generator().manual_seed(0)
    for value in [*layer.parameters(), *layer.buffers()]:
        if value.is_floating_point():
            value.data = 0.5 + torch.rand(value.shape, generator=generator)
    return layer


def normalise(layer: DomainBatchNorm, x: Tensor, modalities: list[str]) -> Tensor:
    route(layer, modalities)
    result: Tensor = layer(x)
    return result


def state(layer: nn.Module, modality: str) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.state_dict().items() if f".{modality}." in name}


def test_the_branches_are_the_modalities_that_a_site_can_have() -> None:
    assert tuple(Modality) == MODALITIES


@pytest.mark.parametrize(("trained", "other"), [("CT", "MR"), ("MR", "CT")])
def test_a_batch_of_one_modality_leaves_the_other_branch_bit_identical(trained: str, other: str) -> None:
    layer = different_branches()
    before = {modality: state(layer, modality) for modality in MODALITIES}
    x = torch.randn(4, 3, 5, 5)
    torch.autograd.backward(normalise(layer, x, [trained] * 4).square().sum())
    assert all(torch.equal(value, before[other][name]) for name, value in state(layer, other).items())
    assert all(parameter.grad is None for parameter in layer.branches[other].parameters())
    moved = 0.9 * before[trained][f"branches.{trained}.running_mean"] + 0.1 * x.mean((0, 2, 3))
    torch.testing.assert_close(state(layer, trained)[f"branches.{trained}.running_mean"], moved)


@settings(max_examples=25)
@given(names=st.lists(st.sampled_from(MODALITIES), min_size=1, max_size=7), training=st.booleans())
def test_a_mixed_batch_equals_a_batch_of_each_modality(names: list[str], training: bool) -> None:
    mixed, apart = different_branches().train(training), different_branches().train(training)
    x = torch.randn(len(names), 3, 4, 4, generator=torch.Generator().manual_seed(1))
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    found = normalise(mixed, inputs[0], names)
    torch.autograd.backward(found.square().sum())
    for modality in sorted(set(names)):
        mine = torch.tensor([name == modality for name in names])
        expected = normalise(apart, inputs[1][mine], [modality] * int(mine.sum()))
        torch.testing.assert_close(found[mine], expected)
        torch.autograd.backward(expected.square().sum())
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for name, value in mixed.state_dict().items():
        torch.testing.assert_close(value, apart.state_dict()[name])


def test_a_batch_of_one_modality_is_plain_batch_normalisation() -> None:
    layer, plain = different_branches(), nn.BatchNorm2d(3)
    plain.load_state_dict(layer.branches["MR"].state_dict())
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(normalise(layer, x, ["MR"] * 4), plain(x))


@pytest.mark.parametrize("names", [["CT"], ["CT", "CT", "CT"]])
def test_a_route_for_another_batch_size_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=f"names {len(names)} samples, but the batch has 2"):
        normalise(DomainBatchNorm(2, 3), torch.randn(2, 3, 4, 4), names)


def test_a_route_holds_for_one_pass_and_a_missing_one_is_refused() -> None:
    layer, x = DomainBatchNorm(2, 3), torch.randn(2, 3, 4, 4)
    for _ in range(2):
        with pytest.raises(ValueError, match="modalities of the batch are not known"):
            layer(x)
        normalise(layer, x, ["CT", "MR"])


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="no normalisation for modality 'PET'"):
        route(DomainBatchNorm(2, 3), ["CT", "PET"])


def test_one_value_a_channel_is_normalised_with_the_running_statistics() -> None:
    """A part of one sample at 1 x 1 has no variance; BatchNorm refuses it in training."""
    layer = different_branches()
    before = {modality: state(layer, modality) for modality in MODALITIES}
    x = torch.randn(3, 3, 1, 1)
    found = normalise(layer, x, ["CT", "MR", "CT"])
    torch.testing.assert_close(found[1:2], normalise(layer.eval(), x[1:2], ["MR"]))
    assert all(torch.equal(value, before["MR"][name]) for name, value in state(layer, "MR").items())
    mean = "branches.CT.running_mean"
    assert not torch.equal(before["CT"][mean], state(layer, "CT")[mean])


@pytest.mark.parametrize("name", ["dynunet", "unet"])
def test_the_branches_entries_are_all_that_carry_the_modalitys_name(name: str) -> None:
    """DynUNet names some of its layers twice in its state dict."""
    network = build_network(NetworkSettings(name=name, normalisation="dsbn"), spatial_dims=2, out_channels=2, seed=0)
    for modality in MODALITIES:
        expected = {entry for entry in network.state_dict() if f".{modality}." in entry}
        assert branch_entries(network, modality) == expected != set()
