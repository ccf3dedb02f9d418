from typing import Any

import pytest
import torch
from torch import nn

from fedgin.errors import ConfigError
from fedgin.nets.dsbn import route
from fedgin.nets.registry import architecture, build_network, check_network, network_names
from fedgin.nets.settings import NetworkSettings, Normalisation, SpatialDims
from fedgin.nets.without_memory import without_memory
from fedgin.train.checkpoint import count_weights
from tests.networks import TINY


def tiny(name: str, dims: SpatialDims, **params: Any) -> nn.Module:
    settings = NetworkSettings(name=name, params={**TINY[name], **params})
    return build_network(settings, spatial_dims=dims, out_channels=3, seed=0)


def smallest(name: str, axes: int) -> tuple[int, ...]:
    """Return the smallest size that a network works on, larger along the last axis."""
    *others, last = architecture(NetworkSettings(name=name, params=TINY[name])).reductions(axes)
    return (*others, 2 * last)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_network_trains_on_the_smallest_size_that_it_states_and_segments_it(name: str, axes: SpatialDims) -> None:
    size = smallest(name, axes)
    check_network(NetworkSettings(name=name, params=TINY[name]), size)
    network = tiny(name, axes)
    image = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    outputs = network(image)
    levels = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    assert levels[0].shape == (1, 3, *size)
    torch.autograd.backward(torch.stack([level.square().mean() for level in levels]).sum())
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    with torch.inference_mode():
        assert network.eval()(image).shape == (1, 3, *size)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_network_is_counted_without_memory_for_its_weights(name: str, axes: SpatialDims) -> None:
    with without_memory():
        network = tiny(name, axes)
    assert {weights.device.type for weights in network.parameters()} == {"meta"}
    assert count_weights(network) == count_weights(tiny(name, axes))


def test_a_network_that_computes_while_it_is_built_is_counted() -> None:
    """Such as one with an encoding of places."""
    with without_memory():
        places = torch.outer(torch.linspace(-1, 1, 8), torch.ones(8))
        weights = nn.init.normal_(torch.empty(3, 2)), nn.init.normal_(tensor=torch.empty(3, 2)), places
    assert [(value.shape, value.is_meta) for value in weights] == [((3, 2), True), ((3, 2), True), ((8, 8), True)]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_network_refuses_what_it_cannot_work_on(name: str, axes: int) -> None:
    settings = NetworkSettings(name=name, params=TINY[name])
    *others, last = smallest(name, axes)
    with pytest.raises(ConfigError, match=rf"network '{name}' reduces preprocessing.size to a single value"):
        check_network(settings, (*others, last // 2))
    stated = rf"network '{name}' needs of preprocessing.size along y a multiple of {last // 2}, not {last + 1}"
    with pytest.raises(ConfigError, match=stated):
        check_network(settings, (*others, last + 1))


@pytest.mark.parametrize(
    ("name", "params", "size", "named"),
    [
        ("dynunet", {"kernel_sizes": [[3, 3], 3, 3]}, (16, 16, 16), "kernel_sizes has [3, 3] for level 1"),
        (
            "resenc",
            {"strides": [1, 2, [1, 2, 2]]},
            (16, 16),
            "strides has [1, 2, 2] for level 3: give one number, or 2",
        ),
        ("swin_unetr", {}, (48, 64, 32), "needs of preprocessing.size along z a multiple of 32, not 48"),
    ],
)
def test_what_does_not_fit_the_axes_is_named(
    name: str, params: dict[str, Any], size: tuple[int, ...], named: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_network(NetworkSettings(name=name, params={**TINY[name], **params}), size)
    assert named in str(caught.value)


@pytest.mark.parametrize("name", ["dynunet", "resenc"])
def test_a_planned_network_reduces_each_axis_by_its_own_strides(name: str) -> None:
    """As nnU-Net plans for thick slices: the slice axis is halved once, the others twice."""
    plan = {"strides": [1, [1, 2, 2], 2], "kernel_sizes": [[1, 3, 3], [3, 5, 5], 3]}
    settings = NetworkSettings(name=name, params={**TINY[name], **plan})
    assert architecture(settings).reductions(3) == (2, 4, 4)
    network = tiny(name, 3, **plan)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv3d))
    assert first.kernel_size == (1, 3, 3)
    assert network.eval()(torch.randn(1, 1, 6, 4, 12)).shape == (1, 3, 6, 4, 12)


@pytest.mark.parametrize("name", ["mednext", "resenc"])
def test_deep_supervision_can_be_left_out(name: str) -> None:
    assert tiny(name, 2, deep_supervision=False)(torch.randn(2, 1, 16, 16)).shape == (2, 3, 16, 16)


def test_the_smallest_mednext_has_the_published_size() -> None:
    """Roy et al. (2023), table 1: S with kernel 3 has 5.6 million weights."""
    network = build_network(NetworkSettings(name="mednext"), spatial_dims=3, out_channels=14, seed=0)
    assert round(sum(weights.numel() for weights in network.parameters()) / 1e6, 1) == 5.6


def test_a_residual_encoder_begins_with_blocks_that_add_nothing() -> None:
    """As nnU-Net initialises it: 1, 3, 4 and 6 blocks, in each of which the last scale is 0."""
    settings = NetworkSettings(name="resenc", params={"channels": [2, 2, 2, 2]})
    network = build_network(settings, spatial_dims=2, out_channels=3, seed=0)
    scales = {name: value for name, value in network.named_parameters() if name.endswith("conv2.norm.weight")}
    assert len(scales) == 1 + 3 + 4 + 6
    assert not any(bool(value.any()) for value in scales.values())


@pytest.mark.parametrize("normalisation", ["instance", "batch", "dsbn", "fedbn"])
def test_every_normalisation_fits_volumes(normalisation: Normalisation) -> None:
    settings = NetworkSettings(normalisation=normalisation, params={"channels": [4, 8]})
    network = build_network(settings, spatial_dims=3, out_channels=2, seed=0)
    route(network, ["CT", "MR"])
    assert network(torch.randn(2, 1, 8, 8, 8)).isfinite().all()


@pytest.mark.parametrize(("name", "levels"), [("segresnet_ds", 3), ("mednext", 3), ("resenc", 2)])
def test_deep_supervision_shows_the_finest_logits_first_and_those_alone_outside_of_training(
    name: str, levels: int
) -> None:
    network = tiny(name, 2)
    image = torch.randn(2, 1, 32, 16)
    shapes = [tuple(level.shape) for level in network.train()(image)]
    assert shapes == [(2, 3, 32, 16), (2, 3, 16, 8), (2, 3, 8, 4)][:levels]
    assert torch.allclose(network(image)[0], network.eval()(image), atol=1e-6)


def test_the_registry_lists_what_it_builds() -> None:
    assert network_names() == sorted(TINY)


def test_the_authors_network_has_the_published_size() -> None:
    settings = NetworkSettings(name="fedgin_unet", normalisation="batch")
    network = build_network(settings, spatial_dims=2, out_channels=1, seed=0)
    state = network.state_dict()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_927_841
    assert len(state) == 106
    assert sum("running" in key or "num_batches" in key for key in state) == 42


def test_the_authors_network_predicts_at_half_resolution() -> None:
    """Its logits are a bilinear enlargement: sampled at half size they carry everything."""
    network = build_network(NetworkSettings(name="fedgin_unet"), spatial_dims=2, out_channels=1, seed=0).eval()
    captured: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _module, _inputs, output: captured.append(output))  # type: ignore[union-attr]
    network(torch.randn(1, 1, 64, 64))
    assert captured[0].shape == (1, 1, 32, 32)


def test_equal_seeds_give_equal_weights_and_leave_global_randomness_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_network(NetworkSettings(), spatial_dims=2, out_channels=3, seed=1).state_dict()
    torch.testing.assert_close(torch.rand(3), expected)
    again = build_network(NetworkSettings(), spatial_dims=2, out_channels=3, seed=1).state_dict()
    other = build_network(NetworkSettings(), spatial_dims=2, out_channels=3, seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", sorted(TINY))
def test_by_default_networks_carry_no_running_statistics(name: str) -> None:
    """Averaged BatchNorm statistics are a known cause of failing federated runs."""
    network = tiny(name, 2)
    assert not any("running" in key for key in network.state_dict())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"name": "unett"}, "unknown network 'unett'. Fix: did you mean 'unet'? choose one of attention_unet"),
        (
            {"name": "unet", "params": {"chanels": [8, 16]}},
            "Fix: did you mean 'channels'? its parameters are channels",
        ),
        ({"name": "unet", "params": {"channels": [8]}}, "'channels'"),
        ({"name": "unet", "params": {"norm": "batch"}}, "no parameter 'norm'"),
        ({"name": "unet", "params": {"out_channels": 3}}, "no parameter 'out_channels'"),
        ({"name": "os.system"}, "unknown network 'os.system'"),
        ({"name": "resenc", "params": {"strides": [1, 2]}}, "strides has 2 levels, channels has 4"),
        ({"name": "resenc", "params": {"strides": [2, 2, 2, 2]}}, "strides begins with another number than 1"),
        ({"name": "dynunet", "params": {"kernel_sizes": [3, 3, [3, 2], 3]}}, "kernel_sizes holds an even number"),
        ({"name": "resenc", "params": {"blocks": [1, 2]}}, "blocks has 2 levels, channels has 4"),
        ({"name": "mednext", "params": {"blocks": [1, 2]}}, "expansions has 5 levels, blocks has 2"),
        ({"name": "swin_unetr", "params": {"feature_size": 16}}, "'feature_size': Input should be a multiple of 12"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_network(NetworkSettings.model_validate(settings), spatial_dims=2, out_channels=2, seed=0)
    assert named in str(caught.value)


def test_the_activation_of_unet_is_chosen() -> None:
    negative = -torch.ones(1)
    for name, learned, slope in (("prelu", 1, 0.25), ("leaky_relu", 0, 0.01)):
        parts = [part for part in tiny("unet", 3, activation=name).modules() if "relu" in type(part).__name__.lower()]
        assert parts
        for part in parts:
            assert sum(parameter.numel() for parameter in part.parameters()) == learned
            assert float(part(negative.clone()).detach()) == pytest.approx(-slope)
