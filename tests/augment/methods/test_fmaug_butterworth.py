from collections import Counter

import pytest
import torch
from torch import Tensor

from fedgin.augment.base import Draw
from fedgin.augment.filters.butterworth import HighPass, filter_image, percentile_normalise
from fedgin.augment.methods.fmaug_butterworth import FMAugButterworth
from fedgin.errors import ConfigError
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@pytest.mark.parametrize("shape", [(3, 1, 20, 16), (2, 2, 3, 20, 16)])
def test_the_result_is_the_normalised_real_part(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    out = FMAugButterworth().apply(x, Draw.for_all((HighPass(2.0, 2),), len(x)))
    assert torch.equal(out, percentile_normalise(filter_image(x, [HighPass(2.0, 2)]), x))


def test_ten_filters_of_order_two_are_equally_likely() -> None:
    params = FMAugButterworth(per_sample=True).draw_params((40_000, 1, 256, 256), gen=make_generator(1))
    counts = Counter(params)
    assert sorted(high_pass.cutoff for high_pass in counts) == [1, 2, 3, 5, 6, 7, 8, 10, 11, 12]
    assert {high_pass.order for high_pass in counts} == {2}
    assert min(counts.values()) / 40_000 == pytest.approx(0.1, rel=0.1)


def test_the_draw_is_of_the_batch_or_of_each_sample() -> None:
    x = image(1, 1, 64, 64).expand(16, 1, 64, 64)
    shared = FMAugButterworth()(x, gen=make_generator(1))
    assert torch.equal(shared, shared[:1].expand_as(shared))
    own = FMAugButterworth(per_sample=True)(x, gen=make_generator(1))
    assert len(torch.unique(own.flatten(1), dim=0)) > 1


def test_the_result_does_not_depend_on_the_images_unit() -> None:
    x, method = image(4, 1, 32, 24), FMAugButterworth()
    expected = method(x, gen=make_generator(1))
    torch.testing.assert_close(method(100 * x + 30, gen=make_generator(1)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.7, -5.0])
def test_flat_images_stay_as_they_are_in_training_and_at_inference(value: float) -> None:
    x = torch.full((2, 1, 16, 16), value)
    assert torch.equal(FMAugButterworth()(x, gen=make_generator(1)), x)
    assert torch.equal(FMAugButterworth().at_inference(x), x)


def test_the_same_generator_gives_the_same_bits() -> None:
    x, method = image(4, 1, 64, 64), FMAugButterworth(per_sample=True)
    first = method(x, gen=make_generator(1, "site-1"))
    assert torch.equal(first, method(x, gen=make_generator(1, "site-1")))
    assert not torch.equal(first, method(x, gen=make_generator(1, "site-2")))


def test_inference_shows_the_mildest_filter_every_time() -> None:
    x, method = image(2, 1, 48, 40), FMAugButterworth()
    out = method.at_inference(x)
    assert torch.equal(out, percentile_normalise(filter_image(x, [HighPass(1.0, 2)]), x))
    assert torch.equal(out, method.at_inference(x))


def test_it_asks_for_no_head_and_no_loss() -> None:
    method = FMAugButterworth()
    assert method.extra_channels == 0
    assert method.extra_loss([], [], image(1, 1, 8, 8)) is None


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="per_sample"):
        FMAugButterworth(per_sample="yes")  # type: ignore[arg-type]
