"""What a training step is given: a batch of slices, changed in geometry and in look, and what to compare with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import RandAffine
from torch import Tensor, nn

from fedgin.augment import Augmentation
from fedgin.nets.dsbn import route
from fedgin.seeds import derive_seed
from fedgin.train.experiment import Experiment, SpatialSettings
from fedgin.train.losses import Targets
from fedgin.train.method_loss import StepTargets


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
    """

    def __init__(
        self, network: nn.Module, experiment: Experiment, augmentation: Augmentation[Any], plan: RoundPlan
    ) -> None:
        self.network = network
        self.augmentation = augmentation
        self.spatial = _SpatialAugmentation(experiment.spatial)
        self.seeds = self._seeds(experiment.seed, plan)

    def __call__(
        self, batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any
    ) -> tuple[Tensor, StepTargets]:
        """Return images [views * B, 1, H, W] and targets of a batch of :class:`~fedgin.data.slices.SliceDataset`."""
        image, label, body = self.spatial(batch["image"], batch["label"], batch["body"], seed=next(self.seeds))
        image, label, body = (part.to(device, non_blocking=non_blocking) for part in (image, label, body))
        generator = torch.Generator().manual_seed(next(self.seeds))
        views = self.augmentation.views(image, gen=generator, body=body)
        targets = Targets(label, batch["labelled"].to(device))
        route(self.network, list(batch["modality"]) * len(views))
        return torch.cat(views), StepTargets(targets, image)

    @staticmethod
    def _seeds(seed: int, plan: RoundPlan) -> Iterator[int]:
        step = 0
        while True:
            for purpose in ("spatial", "appearance"):
                yield derive_seed(seed, plan.site, plan.round_number, step, purpose)
            step += 1


class _SpatialAugmentation:
    """Rotate, scale and shift each slice with its label and body mask (MONAI's ``RandAffine``)."""

    def __init__(self, settings: SpatialSettings) -> None:
        angle = math.radians(settings.rotation_degrees)
        self.transform = RandAffine(
            prob=settings.probability,
            rotate_range=(-angle, angle),
            scale_range=(-settings.scale, settings.scale),
            translate_range=(-settings.shift_pixels, settings.shift_pixels),
            padding_mode="border",
            cache_grid=False,
        )

    def __call__(self, image: Tensor, label: Tensor, body: Tensor, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        self.transform.set_random_state(seed=seed % 2**32)
        warped = [self._warp(*parts) for parts in zip(image, label, body, strict=True)]
        images, labels, bodies = zip(*warped, strict=True)
        return torch.stack(images), torch.stack(labels), torch.stack(bodies)

    def _warp(self, image: Tensor, label: Tensor, body: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moved = self.transform(image, mode="bilinear")
        # The same draw again for what belongs to the image; labels are never interpolated.
        extras = self.transform(torch.cat([label, body]).float(), mode="nearest", randomize=False)
        return moved.as_tensor(), extras[:1].round().long().as_tensor(), extras[1:].as_tensor() > 0.5
