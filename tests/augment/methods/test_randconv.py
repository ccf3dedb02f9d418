from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.consistency import divergence_from_mean
from fedgin.augment.filters.random_conv import ConvLayer
from fedgin.augment.methods.randconv import RandConv, RandConvParams
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@pytest.mark.parametrize(("padding", "mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_the_result_follows_the_formula(padding: str, mode: str) -> None:
    x, method = image(3, 2, 12, 9), RandConv(padding=padding)
    for seed in range(6):
        draw = method.draw(x.shape, gen=make_generator(seed))
        weight, alpha = draw.params.layer.weight[0], draw.params.alpha[0]
        filtered = F.conv2d(F.pad(x, [weight.shape[-1] // 2] * 4, mode=mode), weight)
        expected = alpha * filtered + (1 - alpha) * x
        torch.testing.assert_close(method.apply(x, draw), expected, rtol=1e-5, atol=1e-5)


@given(per_sample=st.booleans(), seed=st.integers(0, 2**32), three_d=st.booleans())
@settings(max_examples=30)
def test_what_a_batch_shares(per_sample: bool, seed: int, three_d: bool) -> None:
    method, shape = RandConv(per_sample=per_sample), (4, 1, 5, 8, 8) if three_d else (4, 1, 8, 8)
    params = method.draw(shape, gen=make_generator(seed)).params
    assert len(params.layer.weight) == (4 if per_sample else 1)
    assert len(set(params.alpha.tolist())) == (4 if per_sample else 1)
    assert not params.layer.bias.any()


@given(size=st.tuples(st.integers(1, 8), st.integers(1, 8)), seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_kernels_fit_into_the_image(size: tuple[int, int], seed: int) -> None:
    x = image(2, 1, *size)
    draw = RandConv(per_sample=True).draw(x.shape, gen=make_generator(seed))
    assert max(draw.params.layer.kernel) <= min(size)
    assert RandConv().apply(x, draw).isfinite().all()


def test_kernel_sizes_are_equally_likely_and_weights_have_the_published_variance() -> None:
    gen, method = make_generator(1), RandConv()
    layers = [method.draw((1, 2, 16, 16), gen=gen).params.layer for _ in range(800)]
    for size in (1, 3, 5, 7):
        weights = torch.cat([layer.weight.flatten() for layer in layers if layer.kernel == (size, size)])
        assert len(weights) / (4 * size**2) == pytest.approx(200, abs=45)
        assert weights.var().item() == pytest.approx(1 / (2 * size**2), rel=0.2)
        assert weights.mean().item() == pytest.approx(0, abs=0.15 / size)


def test_a_sample_with_its_own_kernel_is_filtered_as_if_alone() -> None:
    x, method = image(5, 1, 16, 16), RandConv(per_sample=True)
    draw = method.draw(x.shape, gen=make_generator(3))
    whole = method.apply(x, draw)
    for i in range(5):
        layer = ConvLayer(draw.params.layer.weight[i : i + 1], torch.zeros(1, 1))
        params = RandConvParams(layer, draw.params.alpha[i : i + 1])
        alone = replace(draw, params=params, applied=draw.applied[:1], background=draw.background[:1])
        torch.testing.assert_close(method.apply(x[i : i + 1], alone)[0], whole[i], rtol=1e-5, atol=1e-5)


def test_equal_images_stay_equal_unless_samples_draw_for_themselves() -> None:
    x = image(1, 1, 16, 16).expand(2, 1, 16, 16)
    shared = RandConv()(x, gen=make_generator(1))
    own = RandConv(per_sample=True)(x, gen=make_generator(1))
    assert torch.equal(shared[0], shared[1])
    assert not torch.allclose(own[0], own[1], atol=1e-2)


def test_the_image_variant_filters_the_whole_batch_or_nothing() -> None:
    x, method, gen = image(3, 1, 8, 8), RandConv(variant="image"), make_generator(1)
    alphas = torch.stack([method.draw(x.shape, gen=gen).params.alpha for _ in range(400)])
    assert set(alphas.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(alphas[:, 0], alphas[:, 2])
    assert alphas.mean().item() == pytest.approx(0.5, abs=0.08)
    assert torch.equal(RandConv(variant="image", identity_probability=1.0)(x, gen=gen), x)
    assert not torch.equal(RandConv(variant="image", identity_probability=0.0)(x, gen=gen), x)


def test_alpha_is_uniform() -> None:
    method, gen = RandConv(), make_generator(2)
    alphas = torch.stack([method.draw((1, 1, 4, 4), gen=gen).params.alpha for _ in range(1000)])
    assert alphas.mean().item() == pytest.approx(0.5, abs=0.03)
    assert alphas.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_consistency_compares_three_draws_of_the_clean_image() -> None:
    x, method = image(2, 1, 8, 8), RandConv(consistency_weight=10)
    views = method.views(x, gen=make_generator(4))
    gen = make_generator(4)
    assert len(views) == 3
    assert all(torch.equal(view, method(x, gen=gen)) for view in views)
    assert method.supervised_views == 1
    logits = [image(2, 3, 4, number) for number in (4, 4, 4)]
    logits[1] = -logits[1]
    loss = method.extra_loss(logits, [], x)
    assert loss is not None
    assert float(loss) == pytest.approx(10 * float(divergence_from_mean(logits, to_mean=True)))


def test_without_consistency_there_is_one_view_and_no_extra_loss() -> None:
    x, method = image(2, 1, 8, 8), RandConv()
    assert len(method.views(x, gen=make_generator(4))) == 1
    assert method.extra_loss([x], [], x) is None


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_flat_samples_come_back_and_the_rest_does_not(padding: str) -> None:
    x = torch.full((3, 1, 16, 16), 0.7)
    x[1] += image(1, 16, 16)
    out = RandConv(padding=padding)(x, gen=make_generator(1))
    assert torch.equal(out[::2], x[::2])
    assert not torch.equal(out[1], x[1])


@pytest.mark.parametrize("name", ["variant", "identity_probability", "consistency_weight", "per_sample", "padding"])
def test_a_wrong_setting_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*Fix: "):
        RandConv(**{name: -1})  # type: ignore[arg-type]
