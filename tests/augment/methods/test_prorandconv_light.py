import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.augment.filters.intensity import to_range
from fedgin.augment.methods.prorandconv_light import ProRandConvLight
from fedgin.seeds import make_generator


def image(*shape: int) -> Tensor:
    return to_range(torch.randn(shape, generator=make_generator("image", *shape)), -1, 1)


def test_the_result_follows_the_formula() -> None:
    x, method = image(2, 1, 9, 8), ProRandConvLight()
    draw = method.draw(x.shape, gen=make_generator(1))
    block, h = draw.params.block, x
    for _ in range(block.repeats):
        h = torch.tanh(block.gamma * F.instance_norm(F.conv2d(h, block.weight, padding=1)) + block.beta)
    alpha = draw.params.alpha.view(2, 1, 1, 1)
    mixed = alpha * h + (1 - alpha) * x
    norms = [part.flatten(1).norm(dim=1).view(2, 1, 1, 1) for part in (x, mixed)]
    torch.testing.assert_close(method.apply(x, draw), mixed * norms[0] / norms[1], rtol=1e-4, atol=1e-4)


def test_the_draw_has_the_described_distribution() -> None:
    method, gen = ProRandConvLight(), make_generator(1)
    draws = [method.draw_params((2, 1, 4, 4), gen=gen) for _ in range(1000)]
    assert torch.stack([draw.block.weight for draw in draws]).std().item() == pytest.approx(0.05, rel=0.1)
    gammas, betas = (torch.cat([getattr(draw.block, name) for draw in draws]) for name in ("gamma", "beta"))
    assert gammas.mean().item() == pytest.approx(1, abs=0.02)
    assert gammas.std().item() == pytest.approx(0.1, rel=0.1)
    assert betas.std().item() == pytest.approx(0.05, rel=0.1)
    assert {draw.block.repeats for draw in draws} == {1, 2, 3}
    assert all(draw.block.offsets is None for draw in draws)
    assert torch.cat([draw.alpha for draw in draws]).mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_batch_shares_the_block_and_each_sample_has_its_alpha() -> None:
    params = ProRandConvLight().draw_params((3, 1, 8, 8), gen=make_generator(1))
    assert len(set(params.alpha.tolist())) == 3
    assert params.block.weight.shape == (1, 1, 3, 3)


def test_training_and_inference_see_images_in_the_methods_range() -> None:
    raw, method = 7 * image(2, 1, 16, 16) - 3, ProRandConvLight()
    (view,) = method.views(raw, gen=make_generator(1))
    assert torch.equal(view, method(method.at_inference(raw), gen=make_generator(1)))
    torch.testing.assert_close(method.at_inference(raw), to_range(raw, -1, 1))
