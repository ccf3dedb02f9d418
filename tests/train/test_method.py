"""A method that uses the hooks, written in this one file and nowhere else known, trains and segments by its name."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedgin.augment import Augmentation, register
from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.losses import Targets
from fedgin.train.method_loss import MethodLoss, StepTargets
from fedgin.train.method_network import MethodNetwork
from fedgin.train.trainer import Trainer
from tests.sites import ORGANS, tiny_experiment, write_site

CPU = torch.device("cpu")
WEIGHT = 0.25


@register("test-toy")
class Toy(Augmentation[None]):
    """Negate the image; train on the clean one too; reconstruct it; halve the image at inference."""

    supervised_views = 2
    extra_channels = 1

    def __init__(self, *, probability: float = 1.0) -> None:
        super().__init__(probability=probability)

    def draw_params(self, shape: Sequence[int], *, gen: torch.Generator) -> None:
        """Draw nothing."""

    def transform(self, x: Tensor, params: None) -> Tensor:
        return -x

    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        return [image, self(image, gen=gen, body=body)]

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor | None:
        return WEIGHT * (extra[1] - clean).square().mean()

    def at_inference(self, image: Tensor) -> Tensor:
        return image / 2


@pytest.mark.parametrize("spatial", [(8, 8), (4, 8, 8)])
def test_coarser_outputs_count_half_as_much_for_each_level(spatial: tuple[int, ...]) -> None:
    """Each against the label's nearest voxel; two views are supervised, and the method sees the finest level alone."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (2, 1, *spatial), generator=generator)
    targets = StepTargets(Targets(label, torch.ones(2, 3, dtype=torch.bool)), torch.zeros(2, 1, *spatial))
    half = tuple(side // 2 for side in spatial)
    levels = [torch.randn(4, 4, *size, generator=generator) for size in (spatial, half)]
    loss = MethodLoss(tiny_experiment().loss, Toy(), 3)
    odd = (slice(None), slice(None), *[slice(1, None, 2)] * len(spatial))
    coarse = StepTargets(Targets(label[odd], targets.segmentation.labelled), levels[1][2:, 3:])
    expected = loss(levels[0], targets) + 0.5 * loss(levels[1], coarse)
    torch.testing.assert_close(loss(levels, targets), expected)


def toy_experiment() -> Experiment:
    values = tiny_experiment().model_dump(mode="json") | {"augmentation": {"name": "test-toy"}}
    return Experiment.model_validate(values)


def training_cases(folder: Path) -> list[CachedCase]:
    contract = load_site(write_site(folder, "site-1", "MR"))
    return prepare_site(contract, tiny_experiment().preprocessing, ORGANS).cases[Split.TRAINING]


def test_toy_method_trains_by_name(tmp_path: Path) -> None:
    experiment = toy_experiment()
    network = experiment.initial_network()
    before = [value.detach().clone() for value in network.parameters()]
    result = Trainer(network, experiment, CPU).train_round(training_cases(tmp_path), RoundPlan("site-1", 0, 1))
    assert result.steps == experiment.training.local_steps
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_network_shows_the_extra_output_in_training_only() -> None:
    network = toy_experiment().initial_network()
    image = torch.randn(2, 1, 32, 32)
    assert network.train()(image).shape[1] == len(ORGANS) + 2
    assert network.eval()(image).shape[1] == len(ORGANS) + 1


def test_network_filters_its_input_at_inference() -> None:
    network = toy_experiment().initial_network().eval()
    assert isinstance(network, MethodNetwork)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), network.network(image / 2)[:, :-1])


def test_loss_adds_supervised_views_and_the_methods_own(tmp_path: Path) -> None:
    experiment = toy_experiment()
    classes = experiment.classes
    loss = MethodLoss(experiment.loss, Toy(), classes)
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(4, classes + 1, 8, 8, generator=generator)
    targets = Targets(
        torch.randint(classes, (2, 1, 8, 8), generator=generator), torch.ones(2, classes, dtype=torch.bool)
    )
    clean = torch.randn(2, 1, 8, 8, generator=generator)
    expected = loss.segmentation(outputs[:2, :-1], targets) + loss.segmentation(outputs[2:, :-1], targets)
    expected += WEIGHT * (outputs[2:, -1:] - clean).square().mean()
    assert float(loss(outputs, StepTargets(targets, clean))) == pytest.approx(float(expected), rel=1e-6)


def test_gin_with_consistency_trains_on_three_draws_of_which_one_is_supervised(tmp_path: Path) -> None:
    values = tiny_experiment().model_dump(mode="json")
    values["augmentation"] = {"name": "gin", "params": {"consistency_weight": 10.0}}
    experiment = Experiment.model_validate(values)
    method = experiment.build_augmentation()
    image = torch.randn(2, 1, 16, 16)
    views = method.views(image, gen=torch.Generator().manual_seed(0))
    assert len(views) == 3
    assert method.supervised_views == 1
    assert not torch.equal(views[0], views[1])
    Trainer(experiment.initial_network(), experiment, CPU).train_round(
        training_cases(tmp_path), RoundPlan("site-1", 0, 1)
    )
