"""Against the ordinary convolution, and against a loop that is too plain to be wrong."""

import math
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.deform_conv import deform_conv
from fedgin.seeds import make_generator


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("draw", *shape))


def read(image: Tensor, place: Sequence[float]) -> float:
    """Interpolate linearly between the pixels of one channel; zero outside."""
    total = 0.0
    corner = [math.floor(p) for p in place]
    for step in product((0, 1), repeat=len(place)):
        index = [c + s for c, s in zip(corner, step, strict=True)]
        share = math.prod(1 - abs(p - i) for p, i in zip(place, index, strict=True))
        if all(0 <= i < size for i, size in zip(index, image.shape, strict=True)):
            total += share * float(image[tuple(index)])
    return total


def plain_deform_conv(x: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    out = torch.zeros(len(x), len(weight), *x.shape[2:])
    taps = list(product(*(range(-(k // 2), k // 2 + 1) for k in weight.shape[2:])))
    for n, pixel in enumerate(product(*map(range, x.shape[2:]))):
        for t, tap in enumerate(taps):
            shift = offsets[t].flatten(1)[:, n].tolist()
            place = [p + i + s for p, i, s in zip(pixel, tap, shift, strict=True)]
            for b, c in product(range(len(x)), range(x.shape[1])):
                out.flatten(2)[b, :, n] += weight.flatten(2)[:, c, t] * read(x[b, c], place)
    return out


@given(
    batch=st.integers(1, 3),
    widths=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(*[st.sampled_from([1, 3, 5])] * 3),
    size=st.tuples(*[st.integers(1, 7)] * 3),
    three_d=st.booleans(),
)
@settings(max_examples=60)
def test_zero_offsets_give_the_ordinary_convolution(
    batch: int, widths: tuple[int, int], kernel: tuple[int, ...], size: tuple[int, ...], three_d: bool
) -> None:
    axes = slice(0, 3) if three_d else slice(1, 3)
    kernel, size = kernel[axes], size[axes]
    x, weight = draw(batch, widths[0], *size), draw(widths[1], widths[0], *kernel)
    offsets = torch.zeros(math.prod(kernel), len(size), *size)
    conv = F.conv3d if three_d else F.conv2d
    expected = conv(x, weight, padding=tuple(k // 2 for k in kernel))
    # Up to 375 float32 products of about 1 are added in another order.
    torch.testing.assert_close(deform_conv(x, weight, offsets), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 2, 5, 4), (1, 1, 6, 1), (2, 1, 3, 4, 3)])
@pytest.mark.parametrize("size", [0.3, 3.0])
def test_any_offsets_agree_with_the_plain_loop(shape: tuple[int, ...], size: float) -> None:
    x, spatial = draw(*shape), shape[2:]
    weight = draw(2, shape[1], *[3] * len(spatial))
    offsets = size * draw(3 ** len(spatial), len(spatial), *spatial)
    expected = plain_deform_conv(x, weight, offsets)
    torch.testing.assert_close(deform_conv(x, weight, offsets), expected, rtol=1e-4, atol=1e-4)


def test_a_whole_pixel_offset_shifts_the_image() -> None:
    x = draw(2, 1, 6, 7)
    offsets = torch.zeros(1, 2, 6, 7)
    offsets[:, 1] = 1.0
    shifted = deform_conv(x, torch.ones(1, 1, 1, 1), offsets)
    torch.testing.assert_close(shifted[..., :-1], x[..., 1:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shifted[..., -1], torch.zeros(2, 1, 6), rtol=0, atol=1e-5)
