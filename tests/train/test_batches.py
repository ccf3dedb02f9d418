"""What a step's batch is made of, and what a method may ask of the network for it."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from fedgin.augment import Augmentation
from fedgin.augment.hooks import Guide
from fedgin.nets.registry import build_network
from fedgin.nets.settings import NetworkSettings
from fedgin.seeds import make_generator
from fedgin.train.batches import BatchMaker, RoundPlan, loss_gradient
from fedgin.train.experiment import Experiment, LossSettings
from fedgin.train.losses import MarginalLoss, Targets, build_loss
from tests.sites import tiny_experiment

CPU = torch.device("cpu")


class Asks(Augmentation[None]):
    """Show the image, after asking for its gradient twice."""

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> None:
        """Draw nothing."""

    def transform(self, x: Tensor, params: None) -> Tensor:
        return x

    def guided_views(
        self, image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor | None = None
    ) -> list[Tensor]:
        self.label = guide.label
        self.gradients = [guide.gradient(image), guide.gradient(image)]
        return [image]


def batch(count: int = 2) -> tuple[Tensor, Targets]:
    image = torch.randn(count, 1, 32, 32, generator=make_generator("image"))
    label = torch.randint(0, 3, image.shape, generator=make_generator("label"))
    return image, Targets(label, torch.ones(count, 3, dtype=torch.bool))


def test_the_gradient_tells_what_a_pixel_changes_in_the_loss() -> None:
    """Of a network that shows each pixel's value as the logit of the first organ: cross-entropy has a closed form."""

    class Shows(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(image), image], dim=1)

    image = torch.tensor([[[[0.3, -0.2]]]])
    targets = Targets(torch.tensor([[[[1, 0]]]]), torch.ones(1, 2, dtype=torch.bool))
    gradient = loss_gradient(Shows(), MarginalLoss(_CrossEntropy()), image, targets)
    expected = (image.sigmoid() - targets.label) / 2
    torch.testing.assert_close(gradient, expected)


class _CrossEntropy(nn.Module):
    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, label[:, 0])


def test_asking_for_a_gradient_changes_no_weight_no_statistic_and_no_random_stream() -> None:
    image, targets = batch()
    settings = NetworkSettings(normalisation="batch", params={"dropout": 0.5})
    network = build_network(settings, spatial_dims=2, out_channels=3, seed=1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    gradient = loss_gradient(network, build_loss(LossSettings()), image, targets)
    assert gradient.shape == image.shape
    assert (gradient != 0).any()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weights.grad is None for weights in network.parameters())
    assert network.training


def test_half_precision_images_have_a_gradient_in_float32() -> None:
    image, targets = batch()
    network = tiny_experiment().initial_network()
    assert loss_gradient(network, build_loss(LossSettings()), image.half(), targets).dtype == torch.float32


@pytest.mark.parametrize("normalisation", ["instance", "dsbn"])
def test_a_method_sees_the_labels_after_the_geometric_change_and_may_ask_for_gradients(normalisation: str) -> None:
    """Twice, in a batch of both modalities, of an experiment that turns every slice."""
    values = tiny_experiment().model_dump(mode="json")
    values["network"]["normalisation"] = normalisation
    experiment = Experiment.model_validate(values | {"spatial": {"probability": 1.0}})
    network, method = experiment.initial_network(), Asks()
    image, targets = batch()
    entry = {"image": image, "label": targets.label, "body": image > 0, "labelled": targets.labelled}
    maker = BatchMaker(network, experiment, method, RoundPlan("site-1", 0, 1))
    shown, step = maker(entry | {"modality": ["CT", "MR"]}, CPU, False)
    assert torch.equal(method.label, step.segmentation.label)
    assert not torch.equal(method.label, targets.label)
    first, second = method.gradients
    assert torch.equal(first, second)
    assert first.shape == shown.shape
    # The route of the step itself was not used up.
    assert network(shown).shape[0] == len(shown)


def changed(augmentation: dict[str, object], progress: float = 1.0) -> list[bool]:
    """Tell which samples of a batch, CT and MR in turn, one step of GIN changes in look."""
    values = {"augmentation": {"name": "gin"} | augmentation, "spatial": {"probability": 0.0}}
    experiment = tiny_experiment(**values)
    method = experiment.build_augmentation()
    method.progress = progress
    image, targets = batch(64)
    entry = {"image": image, "label": targets.label, "body": image > 0, "labelled": targets.labelled}
    maker = BatchMaker(experiment.initial_network(), experiment, method, RoundPlan("site-1", 0, 1))
    shown, step = maker(entry | {"modality": ["CT", "MR"] * 32}, CPU, False)
    assert torch.equal(step.clean, image)
    return [not torch.equal(*pair) for pair in zip(shown, image, strict=True)]


def test_every_image_is_changed_unless_the_experiment_says_otherwise() -> None:
    assert all(changed({}))


def test_each_modality_has_its_own_probability() -> None:
    found = changed({"probability": {"CT": 0.5, "MR": 1.0}})
    assert all(found[1::2])
    assert 8 <= sum(found[0::2]) <= 24
    assert not any(changed({"probability": {"CT": 0.0, "MR": 0.0}}))


def test_the_probability_rises_with_the_steps_that_are_done() -> None:
    early, late = (changed({"schedule": "rising"}, progress) for progress in (0.25, 0.75))
    assert 0 < sum(early) < 32 < sum(late) < 64
    # The same coins: what is changed at a lower probability is changed at a higher one.
    assert all(later for earlier, later in zip(early, late, strict=True) if earlier)


@pytest.mark.parametrize("name", ["prorandconv", "raffesdg"])
def test_an_unchanged_image_is_shown_as_it_is_when_the_network_segments(name: str) -> None:
    experiment = tiny_experiment(augmentation={"name": name, "probability": 0.0}, spatial={"probability": 0.0})
    method = experiment.build_augmentation()
    image, targets = batch()
    entry = {"image": image, "label": targets.label, "body": image > 0, "labelled": targets.labelled}
    maker = BatchMaker(experiment.initial_network(), experiment, method, RoundPlan("site-1", 0, 1))
    shown, _ = maker(entry | {"modality": ["CT", "MR"]}, CPU, False)
    for view in torch.split(shown, len(image)):
        torch.testing.assert_close(view, method.at_inference(image))
