import math

import torch

from fedgin.augment.filters.consistency import divergence_from_mean


def test_equal_views_have_no_divergence() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for to_mean in (True, False):
        assert abs(float(divergence_from_mean([logits, logits.clone()], to_mean=to_mean))) < 1e-6


def test_two_certain_and_opposite_views_differ_from_their_mean_by_log_two() -> None:
    # p1 = (1, 0), p2 = (0, 1), mean = (1/2, 1/2): KL(p_i || mean) = log 2.
    sure = torch.tensor([40.0, -40.0]).view(1, 2, 1, 1)
    assert math.isclose(float(divergence_from_mean([sure, -sure], to_mean=True)), math.log(2), rel_tol=1e-5)


def test_direction_from_the_mean_matches_a_hand_computation() -> None:
    # p1 = (0.9, 0.1), p2 = (0.1, 0.9): KL((.5, .5) || p1) = .5 log(.5/.9) + .5 log(.5/.1), the same for p2.
    first = torch.tensor([0.9, 0.1]).log().view(1, 2, 1, 1)
    second = torch.tensor([0.1, 0.9]).log().view(1, 2, 1, 1)
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert math.isclose(float(divergence_from_mean([first, second], to_mean=False)), expected, rel_tol=1e-5)


def test_gradient_reaches_every_view() -> None:
    views = [torch.randn(1, 3, 2, 2, requires_grad=True) for _ in range(3)]
    gradients = torch.autograd.grad(divergence_from_mean(views, to_mean=True), views)
    assert all(bool((gradient != 0).any()) for gradient in gradients)
