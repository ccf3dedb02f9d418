import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment.filters.butterworth import HighPass, butterworth_mask, filter_image, percentile_normalise
from fedgin.seeds import make_generator

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))
FILTERS = st.builds(HighPass, cutoff=st.floats(0, 30), order=st.integers(1, 3))


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


@given(size=SIZES, high_pass=FILTERS)
@settings(max_examples=60)
def test_gains_are_symmetric_about_zero_frequency(size: tuple[int, int], high_pass: HighPass) -> None:
    mask = butterworth_mask(size, high_pass)
    assert mask.shape == size
    assert torch.equal(mask, mask.flip(0, 1).roll((1, 1), dims=(0, 1)))


@given(size=SIZES, high_pass=FILTERS)
@settings(max_examples=60)
def test_the_filtered_image_is_the_whole_transforms_real_result(size: tuple[int, int], high_pass: HighPass) -> None:
    x = image(2, 1, *size)
    whole = torch.fft.ifft2(torch.fft.fft2(x) * butterworth_mask(size, high_pass))
    assert whole.imag.abs().max() < 1e-5 * x.abs().max()
    torch.testing.assert_close(filter_image(x, [high_pass]), whole.real, rtol=1e-4, atol=1e-5)


def test_gains_follow_the_formula() -> None:
    mask = butterworth_mask((8, 6), HighPass(3.0, 2))
    for row, column, distance in [(0, 0, 0), (1, 0, 1), (7, 0, 1), (0, 5, 1), (4, 0, 4), (4, 3, 5), (5, 2, 13**0.5)]:
        assert float(mask[row, column]) == pytest.approx(1 / (1 + (3 / (distance + 1)) ** 4), rel=1e-6)
    assert [float(butterworth_mask((8, 8), HighPass(1.0, order))[0, 0]) for order in (1, 2, 3)] == [0.5] * 3
    assert bool((butterworth_mask((8, 8), HighPass(0.0, 1)) == 1).all())


@pytest.mark.parametrize(
    ("side", "cutoffs"),
    [(256, [1, 2, 3, 5, 6, 7, 8, 10, 11, 12]), (96, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4])],
)
def test_cutoffs_are_floored_and_at_least_one(side: int, cutoffs: list[int]) -> None:
    ratios = [step / 100 for step in range(1, 11)]
    assert [HighPass.at_ratio(ratio, 2, (4, 1, 300, side)).cutoff for ratio in ratios] == cutoffs


def test_a_wave_is_scaled_by_its_gain() -> None:
    wave = torch.cos(2 * torch.pi * (2 * torch.arange(16)[:, None] + 3 * torch.arange(12)[None] * 16 / 12) / 16)
    gain = 1 / (1 + (2 / (13**0.5 + 1)) ** 2)
    torch.testing.assert_close(filter_image(wave[None, None], [HighPass(2.0, 1)])[0, 0], gain * wave, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 16, 12), (2, 2, 3, 15, 11)])
def test_a_small_cutoff_changes_nothing_but_the_gain(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    torch.testing.assert_close(filter_image(x, [HighPass(1e-4, 1)]), x, rtol=1e-5, atol=1e-5)


def test_samples_and_slices_are_filtered_on_their_own() -> None:
    x, filters = image(3, 2, 4, 10, 9), [HighPass(1.0, 1), HighPass(4.0, 3), HighPass(0.0, 1)]
    whole = filter_image(x, filters)
    for number, high_pass in enumerate(filters):
        alone = filter_image(x[number : number + 1, :, 2], [high_pass])
        torch.testing.assert_close(whole[number : number + 1, :, 2], alone, rtol=1e-5, atol=1e-6)


def test_percentiles_become_zero_and_one_without_clipping() -> None:
    x = 40 * image(3, 2, 20, 21) + torch.arange(2).view(1, 2, 1, 1)
    out = percentile_normalise(x, x)
    ends = torch.quantile(out.flatten(2), torch.tensor([0.03, 0.97]), dim=2)
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]).view(2, 1, 1).expand_as(ends), rtol=0, atol=1e-5)
    assert out.min() < 0
    assert out.max() > 1


def test_a_flat_channel_is_given_back_and_does_not_touch_the_others() -> None:
    x = image(2, 2, 10, 10)
    filtered = x.clone()
    filtered[1, 0] = 3.0
    out = percentile_normalise(filtered, x)
    assert torch.equal(out[1, 0], x[1, 0])
    assert torch.equal(out[0], percentile_normalise(x, x)[0])
