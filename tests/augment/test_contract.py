"""What every augmentation promises, whatever its name: the package's own ones with their default settings."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedgin.augment import Augmentation, augmentation_names, build_augmentation
from fedgin.augment.hooks import Guide
from fedgin.errors import DataError
from fedgin.seeds import make_generator

# Other tests file augmentations of their own in the same registry.
NAMES = [name for name in augmentation_names() if type(build_augmentation(name)).__module__.startswith("fedgin.")]
SHAPES = [(3, 1, 16, 12), (2, 1, 6, 8, 10)]

every_name = pytest.mark.parametrize("name", NAMES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator("image", *shape))


def training_views(method: Augmentation[Any], x: Tensor, seed: int = 1) -> list[Tensor]:
    """What training asks for; the labels and the gradient, which some methods look at, are made up."""
    guide = Guide(label=(x[:, :1] > 0).long(), gradient=torch.sin)
    return method.guided_views(x, guide, gen=make_generator(seed))


@every_shape
@every_name
def test_views_are_finite_images_like_the_input_and_leave_it_alone(name: str, shape: tuple[int, ...]) -> None:
    x, method = image(*shape), build_augmentation(name)
    before = x.clone()
    views = training_views(method, x)
    assert len(views) >= method.supervised_views >= 1
    for view in [*views, method(x, gen=make_generator(1)), method.at_inference(x)]:
        assert (view.shape, view.dtype) == (x.shape, x.dtype)
        assert view.isfinite().all()
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@every_name
def test_the_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    x, method = image(2, 1, 16, 12).to(dtype), build_augmentation(name)
    assert {view.dtype for view in [*training_views(method, x), method.at_inference(x)]} == {dtype}


@every_shape
@every_name
def test_the_same_seed_gives_the_same_bits_and_a_replayed_draw_too(name: str, shape: tuple[int, ...]) -> None:
    x, method = image(*shape), build_augmentation(name)
    for first, second in zip(training_views(method, x), training_views(method, x), strict=True):
        assert torch.equal(first, second)
    draw = method.draw(x.shape, gen=make_generator(2))
    assert torch.equal(method.apply(x, draw), method.apply(x, draw))
    assert torch.equal(method.apply(x, draw), method(x, gen=make_generator(2)))


@every_name
def test_another_seed_gives_other_images(name: str) -> None:
    x, method = image(1, 1, 64, 64), build_augmentation(name)
    outs = [method(x, gen=make_generator(seed)) for seed in range(6)]
    assert (name == "none") == all(torch.equal(out, outs[0]) for out in outs)


@every_name
def test_drawing_neither_reads_nor_moves_the_global_random_state(name: str) -> None:
    x, method = image(2, 1, 16, 12), build_augmentation(name)
    state = torch.random.get_rng_state()
    first = method(x, gen=make_generator(1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(method(x, gen=make_generator(1)), first)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("value", [0.0, 0.7, -1000.0])
@every_shape
@every_name
def test_zeros_and_constants_come_back_unchanged(name: str, shape: tuple[int, ...], value: float) -> None:
    x, method = image(*shape), build_augmentation(name)
    x[0] = value
    out = method(x, gen=make_generator(1))
    assert torch.equal(out[0], x[0])
    assert method.fallbacks == 0
    for view in [*training_views(method, x), method.at_inference(x)]:
        assert view.isfinite().all()
        assert (view[0] == view[0].flatten()[0]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@every_name
def test_an_image_that_is_not_finite_is_an_error(name: str, bad: float) -> None:
    x = image(2, 1, 8, 8)
    x[1, 0, 3, 3] = bad
    with pytest.raises(DataError, match=r"samples \[1\]"):
        build_augmentation(name)(x, gen=make_generator(1))


@pytest.mark.filterwarnings("error")
@given(
    size=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    seed=st.integers(0, 2**32),
    extreme=st.sampled_from([1e-4, 1e4]),
)
@settings(max_examples=15)
@every_name
def test_small_and_extreme_images_stay_finite(name: str, size: list[int], seed: int, extreme: float) -> None:
    x, method = extreme * image(2, 1, *size), build_augmentation(name)
    for view in training_views(method, x, seed):
        assert view.shape == x.shape
        assert view.isfinite().all()
    assert method.fallbacks == 0


@every_name
def test_what_is_added_to_the_loss_is_a_number_that_trains(name: str) -> None:
    x, method = image(2, 1, 8, 8), build_augmentation(name)
    shapes = [(2, 3 + method.extra_channels, 8, 8)] * len(training_views(method, x))
    outputs = [(n + 1.0) * image(*shape) for n, shape in enumerate(shapes)]
    outputs = [output.requires_grad_() for output in outputs]
    loss = method.extra_loss([output[:, :3] for output in outputs], [output[:, 3:] for output in outputs], x)
    assert (loss is None) == (len(outputs) == method.supervised_views and not method.extra_channels)
    if loss is not None:
        assert loss.shape == ()
        assert loss.isfinite()
        assert loss > 0
        assert any(grad is not None for grad in torch.autograd.grad(loss, outputs, allow_unused=True))
