"""What a training step is given: a batch, changed in geometry and in look, and what to compare the output with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fedgin.augment import Augmentation
from fedgin.augment.hooks import Guide
from fedgin.augment.quality import QualityFilter
from fedgin.nets.dsbn import route
from fedgin.seeds import derive_seed
from fedgin.train.experiment import Experiment
from fedgin.train.geometry import GeometricAugmentation
from fedgin.train.losses import MarginalLoss, Targets, build_loss
from fedgin.train.method_loss import StepTargets

# A step has a random stream for each: where slices are moved, how they are changed, and which are.
PURPOSES = ("spatial", "appearance", "probability")


@dataclass(frozen=True)
class RoundPlan:
    """Which part of a run is trained.

    Attributes:
        site: whose random streams are used.
        round_number: the round, from 0.
        total_rounds: rounds of the whole run, for the learning-rate schedule.
    """

    site: str
    round_number: int
    total_rounds: int


class BatchMaker:
    """MONAI's ``prepare_batch``: move a batch to the device, then change its geometry and its look.

    The views of a method follow each other along the batch axis, so that one forward pass serves them all. The network
    is told the modality of each of these images.

    It runs after collation, so that an augmentation works on whole batches, and before the forward pass outside of
    autocast, so that it computes in float32.

    Attributes:
        quality: judges the views where ``augmentation.quality`` asks for it.
    """

    def __init__(
        self, network: nn.Module, experiment: Experiment, augmentation: Augmentation[Any], plan: RoundPlan
    ) -> None:
        self.network = network
        self.augmentation = augmentation
        self.quality = QualityFilter(augmentation) if experiment.augmentation.quality else None
        self.settings = experiment.augmentation
        self.segmentation = build_loss(experiment.loss)
        self.geometry = GeometricAugmentation(experiment.spatial, experiment.preprocessing.network_spacing)
        self.seeds = self._seeds(experiment.seed, plan)

    def __call__(
        self, batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any
    ) -> tuple[Tensor, StepTargets]:
        """Return images [views * B, 1, *spatial] and targets of a batch of the dataset."""
        image, label, body = (batch[name].to(device, non_blocking=non_blocking) for name in ("image", "label", "body"))
        geometry, look, coins = (torch.Generator().manual_seed(next(self.seeds)) for _ in PURPOSES)
        image, label, body = self.geometry.apply(image, label, body, self.geometry.draw(len(image), gen=geometry))
        targets, modalities = Targets(label, batch["labelled"]), list(batch["modality"])
        guide = Guide(label, gradient=lambda shown: self._gradient(shown, targets, modalities))
        views = (self.quality or self.augmentation).guided_views(image, guide, gen=look, body=body)
        chances = torch.tensor([self.settings.chance(each, self.augmentation.progress) for each in modalities])
        unchanged = (torch.rand(len(image), generator=coins) >= chances).nonzero()[:, 0].to(device)
        views = self.augmentation.show_clean(views, image, unchanged)
        route(self.network, modalities * len(views))
        return torch.cat(views), StepTargets(targets, image)

    def _gradient(self, shown: Tensor, targets: Targets, modalities: Sequence[str]) -> Tensor:
        route(self.network, modalities)
        return loss_gradient(self.network, self.segmentation, shown, targets)

    @staticmethod
    def _seeds(seed: int, plan: RoundPlan) -> Iterator[int]:
        step = 0
        while True:
            for purpose in PURPOSES:
                yield derive_seed(seed, plan.site, plan.round_number, step, purpose)
            step += 1


def loss_gradient(network: nn.Module, loss: MarginalLoss, shown: Tensor, targets: Targets) -> Tensor:
    """Return the gradient of a segmentation loss with respect to each pixel of ``shown`` [B, 1, *spatial].

    The network is in evaluation mode for it, in which dropout draws nothing and BatchNorm keeps its statistics, and
    computes in float32, also where it is trained with mixed precision: float16 would round small gradients to 0.
    """
    pixels = shown.detach().float().requires_grad_()
    network.eval()
    (gradient,) = torch.autograd.grad(loss(network(pixels), targets), pixels)
    network.train()
    result: Tensor = gradient
    return result
