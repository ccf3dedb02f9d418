import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.augment.intensity import to_range
from fedgin.seeds import make_generator


@given(
    shape=st.sampled_from([(3, 1, 4, 5), (2, 2, 3, 4, 5)]),
    scale=st.floats(1e-3, 1e5),
    shift=st.floats(-1e3, 1e3),
    ends=st.tuples(st.floats(-5, 0), st.floats(1, 5)),
)
@settings(max_examples=40, deadline=None)
def test_each_sample_fills_the_range(
    shape: tuple[int, ...], scale: float, shift: float, ends: tuple[float, float]
) -> None:
    x = scale * torch.randn(shape, generator=make_generator("image", *shape)) + shift
    out = to_range(x, *ends).flatten(1)
    torch.testing.assert_close(out.amin(1), torch.full((len(x),), ends[0]))
    torch.testing.assert_close(out.amax(1), torch.full((len(x),), ends[1]))


def test_the_map_is_linear_per_sample() -> None:
    x = torch.tensor([[0.0, 1.0, 4.0], [-2.0, 2.0, 0.0]]).view(2, 1, 1, 3)
    expected = torch.tensor([[-1.0, -0.5, 1.0], [-1.0, 1.0, 0.0]]).view(2, 1, 1, 3)
    torch.testing.assert_close(to_range(x, -1, 1), expected)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e6])
def test_flat_samples_become_the_middle(value: float) -> None:
    x = torch.stack([torch.full((1, 2, 2), value), torch.arange(4.0).view(1, 2, 2)])
    out = to_range(x, 0, 1)
    assert torch.equal(out[0], torch.full((1, 2, 2), 0.5))
    assert out[1].amax() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    assert to_range(torch.arange(4).view(1, 1, 2, 2).to(dtype), -1, 1).dtype == dtype
