import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.train.experiment import LossSettings
from fedgin.train.losses import Targets, build_loss, merge_unlabelled


def batch(seed: int, classes: int = 4, samples: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, 6, 5, generator=generator)
    return logits, torch.randint(0, classes, (samples, 1, 6, 5), generator=generator)


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), known=st.lists(st.booleans(), min_size=3, max_size=3))
def test_merging_adds_unlabelled_probability_to_background(seed: int, known: list[bool]) -> None:
    logits, _ = batch(seed)
    labelled = torch.tensor([[True, *known]] * 2)
    before, after = logits.softmax(1), merge_unlabelled(logits, labelled).softmax(1)
    hidden = [number for number, flag in enumerate(known, start=1) if not flag]
    torch.testing.assert_close(after[:, 0], before[:, [0, *hidden]].sum(1))
    for number, flag in enumerate(known, start=1):
        torch.testing.assert_close(after[:, number], before[:, number] if flag else torch.zeros_like(after[:, number]))


@pytest.mark.parametrize("name", ["dice_ce", "dice_focal"])
def test_with_every_organ_labelled_it_is_the_wrapped_loss(name: str) -> None:
    logits, label = batch(1)
    loss = build_loss(LossSettings.model_validate({"name": name}))
    ours = loss(logits, Targets(label, torch.ones(2, 4, dtype=torch.bool)))
    torch.testing.assert_close(ours, loss.loss(logits, label))


@pytest.mark.parametrize("name", ["dice_ce", "dice_focal"])
def test_an_unlabelled_organ_is_not_trained_as_background(name: str) -> None:
    """Predicting the organ where the site says background must cost nothing if the site does not label it."""
    label = torch.zeros(1, 1, 6, 5, dtype=torch.long)
    label[..., :2] = 1
    says_organ_two = torch.zeros(1, 3, 6, 5)
    says_organ_two[:, 1, :, :2] = 20.0
    says_organ_two[:, 2, :, 2:] = 20.0
    loss = build_loss(LossSettings.model_validate({"name": name}))
    hidden = float(loss(says_organ_two, Targets(label, torch.tensor([[True, True, False]]))))
    shown = float(loss(says_organ_two, Targets(label, torch.tensor([[True, True, True]]))))
    assert hidden < 1e-3
    assert shown > 0.5


def test_no_gradient_separates_background_from_an_unlabelled_organ() -> None:
    """Moving probability between the two must not change the loss."""
    logits, label = batch(3, classes=3, samples=1)
    label[label == 2] = 0
    loss = build_loss(LossSettings())
    targets = Targets(label, torch.tensor([[True, True, False]]))
    probabilities = logits.softmax(1)
    moved = probabilities.clone()
    moved[:, 0], moved[:, 2] = probabilities[:, 0] + 0.5 * probabilities[:, 2], 0.5 * probabilities[:, 2]
    torch.testing.assert_close(loss(moved.log(), targets), loss(logits, targets))


def test_cross_entropy_part_matches_its_closed_form() -> None:
    """One voxel, three equal logits, organ 2 unlabelled: p(background or organ 2) is 2/3."""
    merged = merge_unlabelled(torch.zeros(1, 3, 1, 1), torch.tensor([[True, True, False]]))
    found = torch.nn.functional.cross_entropy(merged, torch.zeros(1, 1, 1, dtype=torch.long))
    assert float(found) == pytest.approx(-math.log(2 / 3))


def test_half_precision_logits_give_a_finite_loss() -> None:
    logits, label = batch(4)
    targets = Targets(label.clamp(max=2), torch.tensor([[True, True, True, False]] * 2))
    assert torch.isfinite(build_loss(LossSettings())(logits.half(), targets))
