from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.filters.random_conv import ConvLayer
from fedgin.augment.methods.gin import GIN, GINParams
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator

ANISOTROPIC = [[1, 1, 1], [1, 3, 3], [3, 3, 3]]


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def norms(x: Tensor) -> Tensor:
    return x.double().flatten(1).norm(dim=1)


def pick(draw: Draw[GINParams], rows: list[int]) -> Draw[GINParams]:
    """Return the draw for some samples in some order."""
    layers = tuple(ConvLayer(layer.weight[rows], layer.bias[rows]) for layer in draw.params.layers)
    params = GINParams(layers=layers, alpha=draw.params.alpha[rows])
    return Draw(params, applied=draw.applied[rows], background=draw.background[rows])


@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(1, 1, 16, 16), (4, 1, 9, 13), (3, 2, 8, 8), (2, 1, 1, 8, 8), (2, 1, 4, 6, 5)]),
    scale=st.floats(0.1, 100),
    layers=st.integers(1, 5),
    kernel_sharing=st.sampled_from(["sample", "batch"]),
    padding=st.sampled_from(["reflect", "zeros"]),
    match=st.booleans(),
)
@settings(max_examples=100)
def test_the_norm_of_every_sample_is_preserved(
    seed: int, shape: tuple[int, ...], scale: float, layers: int, kernel_sharing: str, padding: str, match: bool
) -> None:
    x = scale * image(*shape)
    gin = GIN(layers=layers, kernel_sharing=kernel_sharing, padding=padding, match_norm_before_mix=match)
    torch.testing.assert_close(norms(gin(x, gen=make_generator(seed))), norms(x), rtol=1e-4, atol=0)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_zeros_stay_zeros_and_constants_stay_constant(padding: str) -> None:
    gin = GIN(padding=padding)
    assert not gin(torch.zeros(2, 1, 16, 16), gen=make_generator(1)).any()
    assert torch.equal(gin(torch.ones(2, 1, 16, 16), gen=make_generator(1)), torch.ones(2, 1, 16, 16))


def test_alpha_zero_gives_the_image_back() -> None:
    x = image(4, 1, 32, 32)
    torch.testing.assert_close(GIN(alpha_range=(0, 0))(x, gen=make_generator(1)), x, rtol=1e-4, atol=1e-4)


def test_alpha_one_with_single_pixel_kernels_is_a_function_of_the_pixel_value() -> None:
    levels = torch.randint(6, (4, 1, 32, 33), generator=make_generator("levels"))
    out = GIN(alpha_range=(1, 1), kernel_sizes=[1])(levels.float(), gen=make_generator(1))
    for sample, row in zip(levels, out, strict=True):
        for level in range(6):
            values = row[sample == level]
            torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-5, atol=1e-5)


def test_the_result_follows_the_formula() -> None:
    x = image(2, 1, 8, 8)
    gin = GIN(layers=1, kernel_sizes=[1])
    draw = gin.draw(x.shape, gen=make_generator(1))
    (layer,), alpha = draw.params.layers, draw.params.alpha.view(2, 1, 1, 1)
    mixed = alpha * (layer.weight.view(2, 1, 1, 1) * x + layer.bias.view(2, 1, 1, 1)) + (1 - alpha) * x
    scale = (norms(x) / (norms(mixed) + 1e-5)).view(2, 1, 1, 1)
    torch.testing.assert_close(gin.apply(x, draw), (mixed * scale).float(), rtol=1e-5, atol=1e-5)


def test_matching_norms_before_mixing_makes_alpha_the_real_share() -> None:
    x = image(1, 1, 16, 16)
    gen = make_generator(1)
    network = GIN(alpha_range=(1, 1), match_norm_before_mix=True)(x, gen=gen)
    half = GIN(alpha_range=(0.5, 0.5), match_norm_before_mix=True)(x, gen=make_generator(1))
    mixed = (network + x) / 2
    torch.testing.assert_close(half, mixed * (norms(x) / norms(mixed)).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel_sharing", ["sample", "batch"])
def test_the_draw_has_the_published_distribution(kernel_sharing: str) -> None:
    draw = GIN(kernel_sharing=kernel_sharing, alpha_range=[0.25, 0.75]).draw((6, 3, 8, 8), gen=make_generator(1))
    layers, groups = draw.params.layers, 6 if kernel_sharing == "sample" else 1
    assert [tuple(layer.bias.shape) for layer in layers] == [(groups, 2)] * 3 + [(groups, 3)]
    assert [layer.weight.shape[2] for layer in layers] == [3, 2, 2, 2]
    assert all(layer.kernel in {(1, 1), (3, 3)} for layer in layers)
    assert draw.params.alpha.min() >= 0.25
    assert draw.params.alpha.max() <= 0.75


def test_weights_are_standard_normal_and_kernel_sizes_equally_likely() -> None:
    gin, gen = GIN(hidden_channels=8), make_generator(1)
    layers = [layer for _ in range(200) for layer in gin.draw((2, 1, 8, 8), gen=gen).params.layers]
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    biases = torch.cat([layer.bias.flatten() for layer in layers])
    for values in (weights, biases):
        assert values.mean().item() == pytest.approx(0, abs=0.03)
        assert values.std().item() == pytest.approx(1, abs=0.03)
    assert sum(layer.kernel == (3, 3) for layer in layers) / len(layers) == pytest.approx(0.5, abs=0.06)


@given(order=st.permutations(range(5)), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_samples_do_not_see_each_other(order: list[int], seed: int) -> None:
    x, gin = image(5, 1, 12, 12), GIN(probability=0.8)
    draw = gin.draw(x.shape, gen=make_generator(seed))
    whole = gin.apply(x, draw)
    assert torch.equal(gin.apply(x[order], pick(draw, order)), whole[order])
    first = order[0]
    alone = gin.apply(x[first : first + 1], pick(draw, [first]))
    torch.testing.assert_close(alone[0], whole[first], rtol=1e-5, atol=1e-5)


def test_kernel_sharing_decides_whether_equal_images_stay_equal() -> None:
    x = image(1, 1, 16, 16).expand(2, 1, 16, 16)
    shared = GIN(kernel_sharing="batch", alpha_range=(0.5, 0.5))(x, gen=make_generator(1))
    own = GIN(kernel_sharing="sample", alpha_range=(0.5, 0.5))(x, gen=make_generator(1))
    assert torch.equal(shared[0], shared[1])
    assert not torch.allclose(own[0], own[1], atol=1e-2)
    only_alpha = GIN(kernel_sharing="batch")(x, gen=make_generator(1))
    assert not torch.equal(only_alpha[0], only_alpha[1])


def test_the_same_purpose_gives_the_same_bits_and_any_other_does_not() -> None:
    x, gin = image(2, 1, 16, 16), GIN()
    first = gin(x, gen=make_generator(42, "site-1", 3, 7, "augment"))
    assert torch.equal(first, gin(x, gen=make_generator(42, "site-1", 3, 7, "augment")))
    others = [(43, "site-1", 3, 7), (42, "site-2", 3, 7), (42, "site-1", 4, 7), (42, "site-1", 3, 8)]
    assert not any(torch.equal(first, gin(x, gen=make_generator(*other, "augment"))) for other in others)


def test_two_dimensions_are_three_with_flat_kernels_and_one_slice() -> None:
    x = image(3, 1, 16, 16)
    flat = GIN(kernel_sizes=[1, 3])(x, gen=make_generator(1))
    volume = GIN(kernel_sizes=[[1, 1, 1], [1, 3, 3]])(x[:, :, None], gen=make_generator(1))
    torch.testing.assert_close(volume[:, :, 0], flat, rtol=1e-5, atol=1e-5)


def test_the_anisotropic_pool_draws_its_three_kernels() -> None:
    gin, gen = GIN(kernel_sizes=ANISOTROPIC), make_generator(1)
    drawn = {layer.kernel for _ in range(20) for layer in gin.draw((1, 1, 4, 8, 8), gen=gen).params.layers}
    assert drawn == {tuple(kernel) for kernel in ANISOTROPIC}
    assert gin(image(2, 1, 4, 8, 8), gen=gen).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_computes_in_float32(dtype: torch.dtype) -> None:
    """A sum of squares of 256 * 256 * 4 would overflow float16."""
    x, gin = 2 * image(2, 1, 256, 256), GIN()
    exact = gin(x, gen=make_generator(1))
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(gin(x, gen=make_generator(1)), exact)
    narrow = x.to(dtype)
    expected = gin(narrow.float(), gen=make_generator(1)).to(dtype)
    assert torch.equal(gin(narrow, gen=make_generator(1)), expected)
    assert gin.fallbacks == 0


def test_a_network_that_overflows_falls_back_to_the_image() -> None:
    x, gin = image(2, 1, 8, 8), GIN(layers=1)
    draw = gin.draw(x.shape, gen=make_generator(1))
    (layer,) = draw.params.layers
    layer.weight[1] = 3e38
    out = gin.apply(x, replace(draw, params=replace(draw.params, layers=(layer,))))
    assert torch.equal(out[1], x[1])
    assert not torch.equal(out[0], x[0])
    assert gin.fallbacks == 1


def test_settings_as_yaml_gives_them() -> None:
    listed: dict[str, Any] = {"kernel_sizes": [1, [3, 1]], "alpha_range": [0, 1], "slope": 0}
    gin = GIN(**listed)
    assert gin.kernel_sizes == (1, (3, 1))
    assert gin.alpha_range == (0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 0},
        {"layers": 2.0},
        {"layers": True},
        {"hidden_channels": -1},
        {"kernel_sizes": []},
        {"kernel_sizes": "13"},
        {"kernel_sizes": 3},
        {"kernel_sizes": [2]},
        {"kernel_sizes": [[1, 4, 3]]},
        {"kernel_sizes": ["3"]},
        {"kernel_sharing": "site"},
        {"slope": "0.1"},
        {"slope": float("nan")},
        {"slope": -0.1},
        {"alpha_range": [0.7, 0.2]},
        {"alpha_range": [0, 1.5]},
        {"alpha_range": [0]},
        {"alpha_range": 0.5},
        {"match_norm_before_mix": 1},
        {"padding": "reflection"},
        {"background": "black"},
        {"probability": 1.1},
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_what_is_allowed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}.*Fix: "):
        GIN(**wrong)


def test_a_kernel_that_does_not_fit_the_images_axes_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not fit images with 2 axes"):
        GIN(kernel_sizes=ANISOTROPIC)(image(1, 1, 8, 8), gen=make_generator(1))


def test_kernel_sizes_are_checked_for_slices_or_volumes_before_any_image_is_seen() -> None:
    GIN(kernel_sizes=ANISOTROPIC).check_axes(3)
    GIN().check_axes(2)
    with pytest.raises(ConfigError, match="does not fit images with 2 axes"):
        GIN(kernel_sizes=ANISOTROPIC).check_axes(2)
