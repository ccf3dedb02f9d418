from typing import Literal

import pytest
import torch

from fedgin.errors import ConfigError
from fedgin.nets.dsbn import route
from fedgin.nets.registry import build_network, network_names
from fedgin.nets.settings import NetworkSettings, Normalisation


@pytest.mark.parametrize("name", ["attention_unet", "dynunet", "fedgin_unet", "segresnet", "segresnet_ds", "unet"])
@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("size", [(64, 48), (16, 32, 16)])
def test_every_network_maps_images_to_logits_of_their_size(name: str, classes: int, size: tuple[int, ...]) -> None:
    dims: Literal[2, 3] = 2 if len(size) == 2 else 3
    network = build_network(NetworkSettings(name=name), spatial_dims=dims, out_channels=classes, seed=0).eval()
    assert network(torch.randn(2, 1, *size)).shape == (2, classes, *size)


@pytest.mark.parametrize("normalisation", ["instance", "batch", "dsbn", "fedbn"])
def test_every_normalisation_fits_volumes(normalisation: Normalisation) -> None:
    settings = NetworkSettings(normalisation=normalisation, params={"channels": [4, 8]})
    network = build_network(settings, spatial_dims=3, out_channels=2, seed=0)
    route(network, ["CT", "MR"])
    assert network(torch.randn(2, 1, 8, 8, 8)).isfinite().all()


def test_deep_supervision_shows_the_finest_logits_first_and_those_alone_outside_of_training() -> None:
    settings = NetworkSettings(name="segresnet_ds", params={"init_filters": 8, "supervised_levels": 3})
    network = build_network(settings, spatial_dims=2, out_channels=3, seed=0)
    image = torch.randn(2, 1, 32, 16)
    shapes = [tuple(level.shape) for level in network.train()(image)]
    assert shapes == [(2, 3, 32, 16), (2, 3, 16, 8), (2, 3, 8, 4)]
    assert torch.allclose(network(image)[0], network.eval()(image), atol=1e-6)


def test_the_registry_lists_what_it_builds() -> None:
    assert network_names() == ["attention_unet", "dynunet", "fedgin_unet", "segresnet", "segresnet_ds", "unet"]


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


@pytest.mark.parametrize("name", network_names())
def test_by_default_networks_carry_no_running_statistics(name: str) -> None:
    """Averaged BatchNorm statistics are a known cause of failing federated runs."""
    network = build_network(NetworkSettings(name=name), spatial_dims=2, out_channels=2, seed=0)
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
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_network(NetworkSettings.model_validate(settings), spatial_dims=2, out_channels=2, seed=0)
    assert named in str(caught.value)
