"""SLAug's two views, and what the second one is fused from."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment import Draw, build_augmentation
from fedgin.augment.draws import draw_from_text, draw_to_text
from fedgin.augment.hooks import Guide
from fedgin.augment.methods.location_scale import LocationScale
from fedgin.augment.methods.slaug import CLASSES, Fusion, SLAug, SLAugParams
from fedgin.seeds import make_generator
from fedgin.train.experiment import Experiment

EACH_SHAPE = pytest.mark.parametrize("shape", [(2, 1, 24, 20), (2, 1, 8, 12, 10)], ids=["2d", "3d"])


def image(*shape: int) -> Tensor:
    return 10 * torch.rand(shape, generator=make_generator("slaug", *shape)) - 3


def organs(x: Tensor) -> Tensor:
    """Two organs in the corners of a background."""
    label = torch.zeros_like(x, dtype=torch.int64)
    label[:, :, :5, :6], label[:, :, -4:, -7:] = 1, 2
    return label


def fused(x: Tensor, saliency: float, seed: int = 3) -> tuple[Tensor, SLAugParams]:
    """Apply one draw with a saliency that is the same everywhere."""
    params = SLAug().draw_params(x.shape, gen=make_generator(seed))
    fusion = Fusion(organs(x), torch.full_like(x, saliency))
    return SLAug().apply(x, Draw.for_all(replace(params, fusion=fusion), len(x))), params


@EACH_SHAPE
def test_the_first_view_and_a_call_are_the_global_location_scale_view(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    first, second = SLAug().guided_views(x, Guide(organs(x).to(torch.uint8), torch.sin), gen=make_generator(1))
    assert torch.equal(first, LocationScale()(x, gen=make_generator(1)))
    assert torch.equal(first, SLAug()(x, gen=make_generator(1)))
    assert not torch.allclose(first, second, atol=0.1)


@EACH_SHAPE
def test_the_fusion_is_global_where_the_gradient_is_large_and_local_where_it_is_small(shape: tuple[int, ...]) -> None:
    x, gradient = image(*shape), torch.zeros(shape)
    gradient[:, :, :6, :6] = 1.0
    asked: list[Tensor] = []

    def give(shown: Tensor) -> Tensor:
        asked.append(shown)
        return gradient

    first, second = SLAug().guided_views(x, Guide(organs(x), give), gen=make_generator(3))
    local, _ = fused(x, 0.0)
    torch.testing.assert_close(second[:, :, 0, 0], first[:, :, 0, 0])
    torch.testing.assert_close(second[:, :, -1, -1], local[:, :, -1, -1])
    assert len(asked) == 1
    assert torch.equal(asked[0], first)


@given(saliency=st.floats(0.0, 1.0))
@settings(max_examples=10)
def test_a_saliency_between_mixes_both_views(saliency: float) -> None:
    x = image(2, 1, 16, 12)
    (local, _), (overall, _), (mixed, _) = (fused(x, share) for share in (0.0, 1.0, saliency))
    torch.testing.assert_close(mixed, saliency * overall + (1 - saliency) * local, rtol=0, atol=1e-4)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_each_region_has_a_curve_of_its_own_that_rises_or_falls_as_drawn(seed: int) -> None:
    x = image(2, 1, 24, 20)
    local, params = fused(x, 0.0, seed)
    low, high = x.amin(), x.amax()
    bright = x > low + 0.02 * (high - low)
    for sample in range(2):
        for number in range(3):
            inside = (organs(x)[sample] == number) & bright[sample]
            change = local[sample][inside][x[sample][inside].argsort()].diff()
            falling = bool(params.falling.view(2, CLASSES)[sample, number])
            assert (change <= 1e-4).all() if falling else (change >= -1e-4).all()
    assert local.amin() >= low - 1e-4
    assert local.amax() <= high + 1e-4


def test_the_background_is_always_inverted_and_an_organ_every_second_time() -> None:
    falling = SLAug().draw_params((200, 1, 8, 8), gen=make_generator(1)).falling.view(200, CLASSES)
    assert falling[:, 0].all()
    assert float(falling[:, 1:].float().mean()) == pytest.approx(0.5, abs=0.02)


def test_the_darkest_pixels_stay_in_the_local_view() -> None:
    x = image(1, 1, 24, 20)
    x[:, :, :, 8:12] = x.amin()
    local, _ = fused(x, 0.0)
    assert torch.equal(local[:, :, :, 8:12], x[:, :, :, 8:12])


def test_a_fusion_can_be_written_and_replayed() -> None:
    x, slaug = image(1, 1, 8, 6), SLAug()
    params = slaug.draw_params(x.shape, gen=make_generator(3))
    draw = Draw.for_all(replace(params, fusion=Fusion(organs(x), torch.full_like(x, 0.3))), 1)
    again = draw_from_text(draw_to_text(draw), slaug)
    assert torch.equal(slaug.apply(x, again), slaug.apply(x, draw))


def test_a_sample_whose_coin_says_no_is_shown_as_it_is_in_both_views() -> None:
    x = image(2, 1, 16, 12)
    method = build_augmentation("slaug", probability=0.0)
    for view in method.guided_views(x, Guide(organs(x), torch.sin), gen=make_generator(1)):
        assert torch.equal(view, x)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_prefers_neither_view(bad: float) -> None:
    x, slaug = image(2, 1, 24, 20), SLAug()
    _, second = slaug.guided_views(
        x, Guide(organs(x), lambda shown: torch.full_like(shown, bad)), gen=make_generator(3)
    )
    torch.testing.assert_close(second, fused(x, 0.5)[0])


def test_there_are_as_many_curves_as_an_experiment_may_have_classes() -> None:
    most = next(rule.max_length for rule in Experiment.model_fields["organs"].metadata if hasattr(rule, "max_length"))
    assert most + 1 == CLASSES
