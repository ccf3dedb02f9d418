import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.prorandconv import ProRandConv, RandomBlock
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return to_range(torch.randn(shape, generator=make_generator("image", *shape)), -1, 1)


def identity_kernel(channels: int, axes: int) -> Tensor:
    weight = torch.zeros(channels, channels, *(3,) * axes)
    for channel in range(channels):
        weight[channel, channel].flatten()[3**axes // 2] = 1
    return weight


@pytest.mark.parametrize("shape", [(3, 2, 9, 8), (2, 1, 4, 6, 5)])
@pytest.mark.parametrize("deform", [True, False])
def test_one_plain_layer_is_tanh_of_the_instance_norm(shape: tuple[int, ...], deform: bool) -> None:
    x, axes = image(*shape), len(shape) - 2
    offsets = torch.zeros(3**axes, axes, *shape[2:]) if deform else None
    block = RandomBlock(identity_kernel(shape[1], axes), offsets, torch.ones(shape[1]), torch.zeros(shape[1]), 1)
    torch.testing.assert_close(block(x), torch.tanh(F.instance_norm(x)), rtol=1e-4, atol=1e-4)


def test_a_repeat_applies_the_same_block_again() -> None:
    x = image(2, 1, 12, 10)
    block = ProRandConv().draw_params(x.shape, gen=make_generator(1))
    once = replace(block, repeats=1)
    torch.testing.assert_close(replace(block, repeats=3)(x), once(once(once(x))), rtol=1e-5, atol=1e-5)


def test_gain_and_shift_belong_to_a_channel() -> None:
    x = image(2, 2, 8, 8)
    gamma, beta = torch.tensor([0.0, 2.0]), torch.tensor([0.5, -1.0])
    out = RandomBlock(identity_kernel(2, 2), None, gamma, beta, 1)(x)
    torch.testing.assert_close(out[:, 0], torch.full((2, 8, 8), math.tanh(0.5)))
    torch.testing.assert_close(out[:, 1], torch.tanh(2 * F.instance_norm(x)[:, 1] - 1), rtol=1e-4, atol=1e-4)


@given(
    seed=st.integers(0, 2**32),
    deform=st.booleans(),
    shape=st.sampled_from([(2, 1, 16, 12), (1, 2, 8, 8), (1, 1, 4, 6, 5)]),
)
@settings(max_examples=40)
def test_the_result_stays_between_minus_one_and_one(seed: int, deform: bool, shape: tuple[int, ...]) -> None:
    out = ProRandConv(deform=deform)(image(*shape), gen=make_generator(seed))
    assert out.abs().max() <= 1


def test_a_batch_shares_its_draw() -> None:
    x = image(1, 1, 16, 16).expand(3, 1, 16, 16)
    out = ProRandConv()(x, gen=make_generator(1))
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


def test_the_draw_has_the_published_distribution() -> None:
    method, gen = ProRandConv(max_layers=4, offset_bound=0.2), make_generator(1)
    blocks = [method.draw_params((1, 1, 6, 6), gen=gen) for _ in range(800)]
    centres = torch.stack([block.weight[0, 0, 1, 1] for block in blocks])
    corners = torch.stack([block.weight[0, 0, 0, 0] for block in blocks])
    assert centres.std().item() == pytest.approx(1 / 3, rel=0.1)
    # E[exp(-2 / s^2)] over s uniform in (0, 1): a corner's variance relative to the centre's.
    widths = torch.linspace(1e-4, 1, 20_001)
    assert corners.var().item() * 9 == pytest.approx(float(torch.exp(-2 / widths**2).mean()), rel=0.3)
    for values in ([block.gamma for block in blocks], [block.beta for block in blocks]):
        assert torch.cat(values).std().item() == pytest.approx(0.5, rel=0.1)
        assert torch.cat(values).mean().item() == pytest.approx(0, abs=0.05)
    repeats = torch.tensor([block.repeats for block in blocks])
    assert [int((repeats == n).sum()) / 800 for n in range(6)] == pytest.approx([0, *[0.25] * 4, 0], abs=0.05)
    # A map is a number of variance s^2 times a field of variance 1, s uniform in (0, 0.2): E[s^2] = 0.2^2 / 3.
    offsets = torch.stack([block.offsets for block in blocks if block.offsets is not None])
    assert offsets.shape == (800, 9, 2, 6, 6)
    assert offsets.var().item() == pytest.approx(0.04 / 3, rel=0.1)


@pytest.mark.parametrize(("shape", "bound"), [((1, 1, 127, 400), 0.2), ((1, 1, 128, 128), 0.5)])
def test_the_offset_bound_follows_the_image_size(shape: tuple[int, ...], bound: float) -> None:
    gen = make_generator(1)
    free = ProRandConv().draw_params(shape, gen=make_generator(1)).offsets
    fixed = ProRandConv(offset_bound=bound).draw_params(shape, gen=gen).offsets
    assert free is not None
    assert fixed is not None
    assert torch.equal(free, fixed)


def test_small_gains_are_redrawn() -> None:
    method, gen = ProRandConv(gamma_min=0.4, deform=False), make_generator(1)
    gammas = torch.cat([method.draw_params((1, 2, 4, 4), gen=gen).gamma for _ in range(300)])
    assert gammas.abs().min() >= 0.4
    assert gammas.min() < 0 < gammas.max()


def test_the_network_sees_the_clean_and_the_augmented_image_in_range() -> None:
    raw = 7 * image(2, 1, 16, 16) - 3
    method = ProRandConv()
    clean, augmented = method.views(raw, gen=make_generator(1))
    assert method.supervised_views == 2
    assert torch.equal(clean, method.at_inference(raw))
    torch.testing.assert_close(clean, to_range(raw, -1, 1))
    assert torch.equal(augmented, method(clean, gen=make_generator(1)))


def test_the_clean_image_can_be_left_out() -> None:
    method, x = ProRandConv(partner="none"), image(2, 1, 16, 16)
    (augmented,) = method.views(x, gen=make_generator(1))
    assert method.supervised_views == 1
    assert torch.equal(augmented, method(method.at_inference(x), gen=make_generator(1)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_layers": 0},
        {"gamma_min": -0.1},
        {"gamma_min": 2},
        {"offset_bound": 0},
        {"offset_bound": "0.2"},
        {"deform": 1},
        {"partner": None},
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}.*Fix: "):
        ProRandConv(**wrong)
