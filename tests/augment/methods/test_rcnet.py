from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.random_conv import ConvLayer
from fedgin.augment.methods.gin import GIN
from fedgin.augment.methods.rcnet import RCNet
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def norms(x: Tensor) -> Tensor:
    return x.double().flatten(1).norm(dim=1)


def test_the_draw_is_gins() -> None:
    mine, gins = (method.draw((3, 1, 8, 8), gen=make_generator(1)).params for method in (RCNet(), GIN()))
    assert torch.equal(mine.alpha, gins.alpha)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(mine.layers, gins.layers, strict=True))
    assert [len(layer.weight) for layer in mine.layers] == [3] * 4


def test_the_result_follows_the_formula() -> None:
    x, method = image(1, 1, 9, 8), RCNet()
    draw = method.draw(x.shape, gen=make_generator(1))
    h = x
    for layer in draw.params.layers:
        padded = F.pad(h, [layer.kernel[0] // 2] * 4, mode="reflect")
        h = F.leaky_relu(F.conv2d(padded, layer.weight[0], layer.bias[0]), 0.1)
    mixed = torch.lerp(x, h, float(draw.params.alpha))
    expected = mixed * x.norm() / (mixed.norm() + 1e-5)
    torch.testing.assert_close(method.apply(x, draw), expected, rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 2**32), three_d=st.booleans())
@settings(max_examples=30)
def test_the_norm_of_every_sample_is_preserved(seed: int, three_d: bool) -> None:
    x = image(3, 1, 4, 8, 8) if three_d else image(3, 1, 8, 8)
    torch.testing.assert_close(norms(RCNet()(x, gen=make_generator(seed))), norms(x), rtol=1e-4, atol=0)


def test_a_dead_network_gives_its_sample_back() -> None:
    x, method = image(2, 1, 8, 8), RCNet()
    draw = method.draw(x.shape, gen=make_generator(1))
    layers = list(draw.params.layers)
    weight, bias = layers[-1].weight.clone(), layers[-1].bias.clone()
    weight[0], bias[0] = 0, 0
    layers[-1] = ConvLayer(weight, bias)
    params = replace(draw.params, layers=tuple(layers), alpha=torch.ones(2))
    out = method.apply(x, replace(draw, params=params))
    assert torch.equal(out[0], x[0])
    assert not torch.equal(out[1], x[1])
