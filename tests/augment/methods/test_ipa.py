import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment.filters.consistency import divergence_from_mean
from fedgin.augment.methods.gin import GIN
from fedgin.augment.methods.ipa import IPA, blend_map
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@pytest.mark.parametrize("shape", [(3, 1, 16, 12), (2, 2, 4, 8, 8)])
def test_the_views_are_two_gin_images_woven_both_ways(shape: tuple[int, ...]) -> None:
    x, method = image(*shape), IPA()
    first, second = method.views(x, gen=make_generator(1))
    params = method.draw_params(shape, gen=make_generator(1))
    u, v = (GIN().transform(x, draw) for draw in (params.inside, params.outside))
    b = blend_map(params.control, shape[2:])
    torch.testing.assert_close(first, b * u + (1 - b) * v, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, (1 - b) * u + b * v, rtol=1e-4, atol=1e-4)
    assert method.supervised_views == 1


def test_the_single_call_is_the_first_view() -> None:
    x, method = image(2, 1, 16, 12), IPA()
    assert torch.equal(method(x, gen=make_generator(1)), method.views(x, gen=make_generator(1))[0])


@given(seed=st.integers(0, 2**32), shape=st.sampled_from([(16, 12), (1, 9), (4, 8, 8)]))
@settings(max_examples=30)
def test_the_map_spans_zero_to_one(seed: int, shape: tuple[int, ...]) -> None:
    control = IPA().draw_params((3, 1, *shape), gen=make_generator(seed)).control
    torch.testing.assert_close(control.flatten(1).norm(dim=1), torch.ones(3))
    b = blend_map(control, shape)
    assert b.shape == (3, 1, *shape)
    assert b.flatten(1).amin(1).tolist() == [0.0] * 3
    assert b.flatten(1).amax(1).tolist() == [1.0] * 3


def test_the_map_is_smooth_and_differs_between_samples() -> None:
    b = blend_map(IPA().draw_params((4, 1, 96, 96), gen=make_generator(1)).control, (96, 96))
    steps = torch.cat([b.diff(dim=2).flatten(), b.diff(dim=3).flatten()]).abs()
    assert steps.max() < 0.1
    assert not torch.allclose(b[0], b[1], atol=0.1)


def test_consistency_is_gins() -> None:
    logits = [image(2, 3, 4, 4), image(2, 3, 4, 5)[..., :4]]
    loss = IPA(consistency_weight=3.0).extra_loss(logits, [], logits[0])
    assert loss is not None
    assert float(loss) == pytest.approx(3 * float(divergence_from_mean(logits, to_mean=False)))


def test_without_consistency_there_is_one_view_and_no_extra_loss() -> None:
    x, method = image(2, 1, 8, 8), IPA(consistency_weight=0)
    (view,) = method.views(x, gen=make_generator(1))
    assert torch.equal(view, IPA().views(x, gen=make_generator(1))[0])
    assert method.extra_loss([x, x], [], x) is None


@pytest.mark.parametrize("name", ["consistency_weight", "padding", "probability", "background"])
def test_a_wrong_setting_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*Fix: "):
        IPA(**{name: -1})  # type: ignore[arg-type]
