import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from fedgin.augment.filters.gaussian_filter import (
    FIXED_KERNEL,
    GaussianKernel,
    blur_matrix,
    fixed_high_frequency,
    high_frequency,
)
from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.fmaug import BANK
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=make_generator("image", *shape)) * 2 - 1


@pytest.mark.parametrize("kernel", [GaussianKernel(2, 2.0), GaussianKernel(13, 9.0), GaussianKernel(1, 0.375)])
def test_the_blur_is_a_truncated_gaussian_that_repeats_the_border(kernel: GaussianKernel) -> None:
    x = image(2, 1, 12, 17)
    blurred = ndimage.gaussian_filter(
        x.double().numpy(), (0, 0, kernel.std, kernel.std), mode="nearest", radius=(0, 0, kernel.radius, kernel.radius)
    )
    expected = (4 * (x - torch.from_numpy(blurred))).clamp(-1, 1).float()
    torch.testing.assert_close(high_frequency(x, [kernel]), expected, rtol=1e-5, atol=1e-5)


@given(side=st.integers(1, 40), radius=st.integers(1, 30), std=st.floats(0.2, 30))
@settings(max_examples=50)
def test_every_blurred_pixel_is_a_weighted_mean(side: int, radius: int, std: float) -> None:
    matrix = blur_matrix(side, GaussianKernel(radius, std))
    assert bool((matrix >= 0).all())
    torch.testing.assert_close(matrix.sum(1), torch.ones(side))
    torch.testing.assert_close(matrix, matrix.flip(0, 1))


def test_samples_and_slices_are_filtered_on_their_own() -> None:
    x, kernels = image(3, 2, 4, 10, 9), [GaussianKernel(radius, float(radius)) for radius in (1, 2, 3)]
    whole = high_frequency(x, kernels)
    for number, kernel in enumerate(kernels):
        alone = high_frequency(x[number : number + 1, :, 2], [kernel])
        torch.testing.assert_close(whole[number : number + 1, :, 2], alone, rtol=1e-5, atol=1e-6)


def test_the_published_sizes_shrink_with_the_image_and_keep_four_radii() -> None:
    assert [kernel.scaled_to((8, 1, 512, 512), from_size=512) for kernel in BANK] == list(BANK)
    small = [kernel.scaled_to((16, 1, 128, 96), from_size=512) for kernel in BANK]
    assert len(set(small)) == len(BANK)
    assert {kernel.radius for kernel in small} == {1, 2, 3, 4}
    assert FIXED_KERNEL.scaled_to((128, 96), from_size=512) == GaussianKernel(2, 27 / 16)


def test_the_fixed_filter_sees_the_mapped_image_in_full_precision() -> None:
    x = 30 * image(2, 1, 64, 64) + 7
    expected = high_frequency(to_range(x, 0.0, 1.0), [GaussianKernel(13, 9.0)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fixed_high_frequency(x, low=0.0, from_size=64), expected)
    assert not fixed_high_frequency(torch.full((1, 1, 64, 64), -5.0), low=0.0).abs().gt(1e-5).any()
