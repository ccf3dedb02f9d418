import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.attacks.inversion import (
    Search,
    cosine_distance,
    known_draw,
    likeness,
    reconstruct,
    total_variation,
)
from fedgin.augment.methods.gin import GIN
from fedgin.seeds import make_generator

SHAPE = (1, 1, 12, 12)


def slice_of(seed: int) -> Tensor:
    """Return a smooth image, so that neighbours are alike as in a slice."""
    coarse = torch.randn(1, 1, 4, 4, generator=make_generator(seed))
    return F.interpolate(coarse, SHAPE[2:], mode="bilinear")


def linear_step(image: Tensor) -> list[Tensor]:
    """Return minus the gradient of a linear layer's weight and bias; the weight's is the residual times the image."""
    weight = torch.linspace(-0.1, 0.1, 3 * 144).reshape(3, 144).requires_grad_()
    bias = torch.zeros(3, requires_grad=True)
    loss = F.cross_entropy(F.linear(image.flatten(1), weight, bias), torch.tensor([1]))
    return [-part for part in torch.autograd.grad(loss, (weight, bias), create_graph=True)]


def test_a_linear_layers_update_is_the_image() -> None:
    image = slice_of(1)
    weight, bias = linear_step(image)
    torch.testing.assert_close(weight[0] / bias[0], image.flatten())


def test_the_search_finds_the_image_of_a_linear_layer() -> None:
    image = slice_of(1)
    update = [part.detach() for part in linear_step(image)]
    found = reconstruct(linear_step, update, SHAPE, Search(iterations=200, smoothness=0.0))
    assert likeness(found, image).correlation > 0.98
    assert likeness(found, slice_of(2)).correlation < 0.5


def test_the_search_finds_nothing_in_noise() -> None:
    generator = make_generator("noise")
    update = [torch.randn(part.shape, generator=generator) for part in linear_step(slice_of(1))]
    found = reconstruct(linear_step, update, SHAPE, Search(iterations=100, smoothness=0.0))
    assert abs(likeness(found, slice_of(1)).correlation) < 0.5


def test_an_attacker_who_repeats_the_draws_computes_the_image_that_was_trained_on() -> None:
    method, image = GIN(), slice_of(1)
    draw = method.draw(SHAPE, gen=make_generator("draw"))
    torch.testing.assert_close(known_draw(method, draw.params)(image), method.apply(image, draw), rtol=1e-4, atol=1e-5)


def test_the_distance_is_of_directions() -> None:
    parts = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert float(cosine_distance(parts, [7 * part for part in parts])) == pytest.approx(0.0, abs=1e-6)
    assert float(cosine_distance(parts, [-part for part in parts])) == pytest.approx(2.0)
    assert float(cosine_distance(parts, [torch.tensor([0.0, 1.0]), torch.tensor([[0.0]])])) == pytest.approx(1.0)


def test_total_variation_counts_neighbours() -> None:
    step = torch.zeros(1, 1, 4, 4)
    step[..., 2:] = 3.0
    assert float(total_variation(step)) == pytest.approx(3.0 / 3)
    assert float(total_variation(torch.ones(SHAPE))) == 0.0


def test_likeness_ignores_brightness_and_contrast() -> None:
    image = slice_of(1)
    same = likeness(5 * image + 2, image)
    assert same.correlation == pytest.approx(1.0)
    assert same.ssim == pytest.approx(1.0)
    assert likeness(-image, image).correlation == pytest.approx(-1.0)
