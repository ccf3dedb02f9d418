from typing import Any

import pytest
import torch
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.filters.gaussian_filter import GaussianKernel, high_frequency
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.fmaug import BANK, FMAug, FMAugParams
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def test_the_bank_holds_the_published_pairs() -> None:
    assert [(2 * kernel.radius + 1, kernel.std) for kernel in BANK] == [(2 * s + 1, s) for s in range(2, 22)]


@pytest.mark.parametrize("shape", [(3, 1, 20, 16), (2, 2, 3, 20, 16)])
def test_one_filter_outside_and_one_inside_the_rectangle(shape: tuple[int, ...]) -> None:
    x, outside, inside = image(*shape), GaussianKernel(1, 0.7), GaussianKernel(5, 4.0)
    rectangle = torch.zeros(20, 16, dtype=torch.bool)
    rectangle[3:9, 4:16] = True
    out = FMAug().apply(x, Draw.for_all(FMAugParams((outside,), (inside,), rectangle), len(x)))
    mapped = to_range(x, -1.0, 1.0)
    assert torch.equal(out[..., rectangle], high_frequency(mapped, [inside])[..., rectangle])
    assert torch.equal(out[..., ~rectangle], high_frequency(mapped, [outside])[..., ~rectangle])


def test_the_draw_is_of_the_batch_or_of_each_sample() -> None:
    x = image(1, 1, 32, 24).expand(8, 1, 32, 24)
    shared = FMAug()(x, gen=make_generator(1))
    assert torch.equal(shared, shared[:1].expand_as(shared))
    own = FMAug(per_sample=True)(x, gen=make_generator(1))
    assert len(torch.unique(own.flatten(1), dim=0)) == 8


def test_filters_are_drawn_alike_and_with_replacement() -> None:
    params = FMAug(per_sample=True).draw_params((40_000, 1, 8, 8), gen=make_generator(1))
    counts = [params.outside.count(kernel) for kernel in set(params.outside)]
    assert len(counts) == len(BANK)
    assert min(counts) / 40_000 == pytest.approx(1 / 20, rel=0.1)
    same = sum(a == b for a, b in zip(params.outside, params.inside, strict=True))
    assert same / 40_000 == pytest.approx(1 / 20, rel=0.1)


def test_the_reference_size_of_the_images_gives_the_published_pixels() -> None:
    params = FMAug(per_sample=True, reference_size=24).draw_params((200, 1, 32, 24), gen=make_generator(1))
    assert set(params.outside) == set(BANK)


def test_the_result_does_not_depend_on_the_images_unit_and_stays_in_range() -> None:
    x, fmaug = image(4, 1, 32, 24), FMAug(per_sample=True)
    out = fmaug(x, gen=make_generator(1))
    assert out.abs().max() <= 1
    torch.testing.assert_close(fmaug(1000 * x - 300, gen=make_generator(1)), out, rtol=1e-3, atol=1e-3)


def test_the_same_generator_gives_the_same_bits() -> None:
    x = image(4, 1, 32, 24)
    first = FMAug()(x, gen=make_generator(1, "site-1"))
    assert torch.equal(first, FMAug()(x, gen=make_generator(1, "site-1")))
    assert not torch.equal(first, FMAug()(x, gen=make_generator(1, "site-2")))


@pytest.mark.parametrize("value", [0.0, 0.7, -5.0])
def test_flat_images_stay_as_they_are_in_training_and_at_inference(value: float) -> None:
    x = torch.full((2, 1, 16, 16), value)
    assert torch.equal(FMAug()(x, gen=make_generator(1)), x)
    assert torch.equal(FMAug().at_inference(x), x)


def test_inference_shows_the_fixed_filter() -> None:
    x = image(2, 1, 48, 40)
    out = FMAug(reference_size=40).at_inference(x)
    assert torch.equal(out, high_frequency(to_range(x, -1.0, 1.0), [GaussianKernel(13, 9.0)]))
    assert torch.equal(out, FMAug(reference_size=40).at_inference(x))
    assert FMAug().at_inference(image(1, 1, 4, 12, 12)).shape == (1, 1, 4, 12, 12)


def test_the_head_is_compared_with_the_filtered_clean_image() -> None:
    clean = image(2, 1, 48, 40)
    fmaug = FMAug(reconstruction_weight=0.5, reference_size=40)
    extra = [
        high_frequency(to_range(clean, -1.0, 1.0), [GaussianKernel(13, 9.0)])
        + torch.tensor([1.0, -3.0]).view(2, 1, 1, 1)
    ]
    assert float(fmaug.extra_loss([], extra, clean)) == pytest.approx(0.5 * (1 + 3) / 2, rel=1e-5)
    assert fmaug.extra_channels == 1


@pytest.mark.parametrize(
    "wrong",
    [{"reconstruction_weight": -1}, {"per_sample": 1}, {"reference_size": 0}, {"reference_size": 96.5}],
    ids=str,
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FMAug(**wrong)
