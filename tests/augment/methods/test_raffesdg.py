from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.filters.butterworth import HighPass, filter_image, percentile_normalise
from fedgin.augment.filters.gaussian_filter import GaussianKernel, high_frequency
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.raffesdg import IDENTITY, RaffeSDG, RaffeSDGParams, filter_bank
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator

MILD, STRONG = HighPass(1.0, 1), HighPass(4.0, 3)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def shown(x: Tensor, high_pass: HighPass) -> Tensor:
    mapped = to_range(x, 0.0, 1.0)
    return percentile_normalise(filter_image(mapped, [high_pass]), mapped)


@pytest.mark.parametrize("shape", [(3, 1, 20, 16), (2, 2, 3, 20, 16)])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_two_filtered_images_are_blended(shape: tuple[int, ...], share: float) -> None:
    x = image(*shape)
    out = RaffeSDG().apply(x, Draw.for_all(RaffeSDGParams((MILD,), (STRONG,), torch.tensor(share)), len(x)))
    expected = share * shown(x, MILD) + (1 - share) * shown(x, STRONG)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    if share == 1.0:
        assert torch.equal(out, shown(x, MILD))


def test_the_identity_only_maps_by_percentiles() -> None:
    x = image(2, 1, 20, 16)
    torch.testing.assert_close(shown(x, IDENTITY), percentile_normalise(x, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("side", "cutoffs"),
    [
        (512, {1: 5, 2: 1, 3: 1, 5: 1, 8: 1, 11: 1, 17: 1, 25: 1}),
        (256, {1: 7, 2: 1, 4: 1, 5: 1, 8: 1, 12: 1}),
        (96, {1: 9, 2: 1, 3: 1, 4: 1}),
    ],
)
def test_cutoffs_collapse_in_small_images(side: int, cutoffs: dict[int, int]) -> None:
    bank = filter_bank(side, remain_original=False)
    expected = {(cutoff, order): count for cutoff, count in cutoffs.items() for order in (1, 2, 3)}
    assert Counter((high_pass.cutoff, high_pass.order) for high_pass in bank) == expected


def test_a_quarter_of_the_pool_leaves_the_image_alone() -> None:
    bank = filter_bank(512, remain_original=True)
    assert bank[:36] == filter_bank(512, remain_original=False)
    assert bank[36:] == [IDENTITY] * 12


def test_every_filter_of_the_pool_is_equally_likely_for_both() -> None:
    params = RaffeSDG(per_sample=True, mask="grid", reference_size=8).draw_params(
        (40_000, 1, 8, 8), gen=make_generator(1)
    )
    for filters in (params.first, params.second):
        assert filters.count(IDENTITY) / 40_000 == pytest.approx(0.25, rel=0.05)
        assert filters.count(HighPass(1.0, 3)) / 40_000 == pytest.approx(0.25, rel=0.05)
    same = sum(a == b for a, b in zip(params.first, params.second, strict=True))
    assert same / 40_000 == pytest.approx(0.25, rel=0.05)


def test_the_draw_is_of_the_batch_or_of_each_sample() -> None:
    x = image(1, 1, 32, 24).expand(8, 1, 32, 24)
    shared = RaffeSDG()(x, gen=make_generator(1))
    assert torch.equal(shared, shared[:1].expand_as(shared))
    own = RaffeSDG(per_sample=True)(x, gen=make_generator(1))
    assert len(torch.unique(own.flatten(1), dim=0)) > 4


def test_the_magnitude_folds_what_is_below_zero() -> None:
    x = image(1, 1, 20, 16)
    draw = Draw.for_all(RaffeSDGParams((STRONG,), (STRONG,), torch.ones(())), 1)
    mapped = to_range(x, 0.0, 1.0)
    folded = percentile_normalise(filter_image(mapped, [STRONG]).abs(), mapped)
    assert torch.equal(RaffeSDG(part="abs").apply(x, draw), folded)
    assert not torch.allclose(RaffeSDG().apply(x, draw), folded, atol=0.1)


@pytest.mark.parametrize("part", ["real", "abs"])
def test_the_result_does_not_depend_on_the_images_unit(part: str) -> None:
    x, method = image(4, 1, 32, 24), RaffeSDG(per_sample=True, part=part)
    expected = method(x, gen=make_generator(1))
    torch.testing.assert_close(method(100 * x - 30, gen=make_generator(1)), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 0.7, -5.0])
def test_flat_images_stay_as_they_are_in_training_and_at_inference(value: float) -> None:
    x = torch.full((2, 1, 16, 16), value)
    assert torch.equal(RaffeSDG()(x, gen=make_generator(1)), x)
    assert torch.equal(RaffeSDG().at_inference(x), x)


@pytest.mark.parametrize("mask", ["smooth", "patch", "grid"])
def test_the_same_generator_gives_the_same_bits(mask: str) -> None:
    x, method = image(4, 1, 32, 24), RaffeSDG(mask=mask, per_sample=True)
    first = method(x, gen=make_generator(1, "site-1"))
    assert torch.equal(first, method(x, gen=make_generator(1, "site-1")))
    assert not torch.equal(first, method(x, gen=make_generator(1, "site-2")))


@pytest.mark.parametrize(("name", "high_pass"), [("butterworth_d0_1", MILD), ("none", IDENTITY)])
def test_inference_shows_the_chosen_filter_every_time(name: str, high_pass: HighPass) -> None:
    x, method = image(2, 1, 48, 40), RaffeSDG(inference_filter=name)
    assert torch.equal(method.at_inference(x), shown(x, high_pass))
    assert torch.equal(method.at_inference(x), method.at_inference(x))


def test_the_head_is_compared_with_the_gaussian_high_frequencies_of_the_clean_image() -> None:
    clean = image(2, 1, 128, 96)
    target = high_frequency(to_range(clean, 0.0, 1.0), [GaussianKernel(2, 27 / 16)])
    extra = [target + torch.tensor([1.0, -3.0]).view(2, 1, 1, 1)]
    loss = RaffeSDG().extra_loss([], extra, clean)
    assert loss is not None
    assert float(loss) == pytest.approx((1 + 9) / 2, rel=1e-5)


def test_without_saliency_there_is_no_head_and_no_loss() -> None:
    assert RaffeSDG().extra_channels == 1
    method = RaffeSDG(saliency=False)
    assert method.extra_channels == 0
    assert method.extra_loss([], [], image(1, 1, 8, 8)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"remain_original": 12},
        {"mask": "noise"},
        {"saliency": 1.0},
        {"inference_filter": "gaussian"},
        {"part": "imag"},
        {"per_sample": None},
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RaffeSDG(**wrong)
