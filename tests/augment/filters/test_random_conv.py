"""The fast formulation against the grouped one, and both against a loop that is too plain to be wrong."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fedgin.augment.filters.random_conv as random_conv
from fedgin.augment.filters.random_conv import ConvLayer, grouped_conv_net, random_conv_net, shifted_conv_net
from fedgin.seeds import make_generator

Net = Callable[..., Tensor]
NETS = [shifted_conv_net, grouped_conv_net]


def draw_layers(groups: int, widths: Sequence[int], kernels: Sequence[Sequence[int]]) -> list[ConvLayer]:
    gen = make_generator("layers", groups, *widths)
    return [
        ConvLayer(torch.randn(groups, c_out, c_in, *kernel, generator=gen), torch.randn(groups, c_out, generator=gen))
        for c_in, c_out, kernel in zip(widths[:-1], widths[1:], kernels, strict=True)
    ]


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def plain_net(x: Tensor, layers: Sequence[ConvLayer], *, slope: float, padding: str) -> Tensor:
    conv = F.conv2d if x.dim() == 4 else F.conv3d
    results = []
    for sample in range(len(x)):
        h = x[sample : sample + 1]
        for depth, layer in enumerate(layers):
            row = min(sample, len(layer.weight) - 1)
            widths = [k // 2 for k in reversed(layer.kernel) for _ in range(2)]
            padded = F.pad(h, widths, mode="constant" if padding == "zeros" else "reflect")
            h = conv(padded, layer.weight[row], layer.bias[row])
            if depth < len(layers) - 1:
                h = torch.where(h < 0, slope * h, h)
        results.append(h)
    return torch.cat(results)


def assert_near(actual: Tensor, expected: Tensor) -> None:
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("kernels", list(product([1, 3], repeat=4)))
def test_all_kernel_sizes_agree_with_the_plain_loop(net: Net, padding: str, kernels: Sequence[int]) -> None:
    x = image(5, 1, 12, 9)
    layers = draw_layers(5, (1, 2, 2, 2, 1), [(k, k) for k in kernels])
    assert_near(net(x, layers, slope=0.01, padding=padding), plain_net(x, layers, slope=0.01, padding=padding))


@given(
    groups=st.sampled_from([1, 3]),
    widths=st.lists(st.integers(1, 3), min_size=2, max_size=4),
    kernels=st.lists(st.tuples(*[st.sampled_from([1, 3, 5])] * 3), min_size=3, max_size=3),
    size=st.tuples(*[st.integers(3, 7)] * 3),
    padding=st.sampled_from(["reflect", "zeros"]),
    three_d=st.booleans(),
)
@settings(max_examples=60)
def test_any_network_agrees_with_the_plain_loop(
    groups: int,
    widths: list[int],
    kernels: list[tuple[int, ...]],
    size: tuple[int, ...],
    padding: str,
    three_d: bool,
) -> None:
    axes = slice(0, 3) if three_d else slice(1, 3)
    x = image(3, widths[0], *size[axes])
    layers = draw_layers(groups, widths, [kernel[axes] for kernel in kernels[: len(widths) - 1]])
    expected = plain_net(x, layers, slope=0.2, padding=padding)
    for net in NETS:
        assert_near(net(x, layers, slope=0.2, padding=padding), expected)


@given(size=st.tuples(*[st.integers(1, 3)] * 3), kernel=st.tuples(*[st.sampled_from([1, 3, 5])] * 3))
@settings(max_examples=40)
def test_axes_too_short_to_mirror_agree_and_keep_constants_constant(
    size: tuple[int, int, int], kernel: tuple[int, int, int]
) -> None:
    layers = draw_layers(2, (1, 2, 1), [kernel, kernel])
    x = image(2, 1, *size)
    fast, grouped = (net(x, layers, slope=0.01, padding="reflect") for net in NETS)
    assert_near(fast, grouped)
    for row in shifted_conv_net(torch.full_like(x, 0.7), layers, slope=0.01, padding="reflect"):
        assert (row - row.mean()).abs().max() <= 1e-5 * row.abs().max()


def test_an_axis_of_size_one_is_continued_with_its_only_value() -> None:
    """So a 3 x 3 x 3 kernel on one slice is the 3 x 3 kernel summed over its slices."""
    x = image(2, 1, 1, 8, 8)
    layers = draw_layers(2, (1, 2, 1), [(3, 3, 3)] * 2)
    flat = [ConvLayer(layer.weight.sum(3), layer.bias) for layer in layers]
    expected = plain_net(x[:, :, 0], flat, slope=0.01, padding="reflect")
    assert_near(shifted_conv_net(x, layers, slope=0.01, padding="reflect")[:, :, 0], expected)


@pytest.mark.parametrize("floats", [1, 700, 10**6])
def test_working_a_few_samples_at_a_time_changes_no_bit(monkeypatch: pytest.MonkeyPatch, floats: int) -> None:
    x = image(7, 1, 12, 9)
    layers = draw_layers(7, (1, 2, 2, 1), [(3, 3), (1, 1), (3, 3)])
    whole = random_conv_net(x, layers, slope=0.01, padding="reflect")
    monkeypatch.setattr(random_conv, "_FLOATS_PER_THREAD", floats)
    assert torch.equal(random_conv_net(x, layers, slope=0.01, padding="reflect"), whole)


def test_images_need_not_be_contiguous() -> None:
    x = image(3, 12, 9, 1).movedim(3, 1)
    layers = draw_layers(3, (1, 2, 1), [(3, 3)] * 2)
    for net in NETS:
        expected = plain_net(x, layers, slope=0.01, padding="reflect")
        assert_near(net(x, layers, slope=0.01, padding="reflect"), expected)
