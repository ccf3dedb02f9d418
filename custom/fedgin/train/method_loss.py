"""The loss of a training step: segmentation on the supervised views, and what the method adds to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fedgin.augment.hooks import TrainingHooks
from fedgin.train.experiment import LossSettings
from fedgin.train.losses import Targets, build_loss


@dataclass(frozen=True)
class StepTargets:
    """What the loss of a step is computed against.

    Attributes:
        segmentation: of the batch; the same for every view.
        clean: float32 [B, 1, *spatial], the images before the appearance augmentation.
    """

    segmentation: Targets
    clean: Tensor


class MethodLoss(nn.Module):
    """Split the network's output into views, add up their segmentation losses, and add the method's own loss.

    Coarser outputs count half as much for each level, as in nnU-Net (Isensee et al. 2021) and MONAI's
    ``DeepSupervisionLoss``, and their labels are taken from the nearest voxel.

    Args:
        settings: the settings of the segmentation loss.
        method: tells how many views are supervised and what is added.
        classes: number of classes with background; outputs beyond them belong to the method.
    """

    def __init__(self, settings: LossSettings, method: TrainingHooks, classes: int) -> None:
        super().__init__()
        self.segmentation = build_loss(settings)
        self.method = method
        self.classes = classes

    def forward(self, outputs: Tensor | Sequence[Tensor], targets: StepTargets) -> Tensor:
        """Return the scalar loss of outputs [views * B, classes + extra channels, *spatial].

        A network with deep supervision gives several, the finest first; the method is shown that one.
        """
        finest, *coarser = [outputs] if isinstance(outputs, Tensor) else outputs
        views = torch.split(finest.float(), len(targets.clean))
        logits = [view[:, : self.classes] for view in views]
        extra = [view[:, self.classes :] for view in views]
        loss = self._supervise(logits, targets.segmentation)
        for level, output in enumerate(coarser, start=1):
            logits_there = torch.split(output[:, : self.classes].float(), len(targets.clean))
            loss = loss + 0.5**level * self._supervise(logits_there, targets.segmentation)
        more = self.method.extra_loss(logits, extra, targets.clean)
        return loss if more is None else loss + more

    def _supervise(self, logits: Sequence[Tensor], targets: Targets) -> Tensor:
        """Add up the segmentation losses of the supervised views at one resolution."""
        label = targets.label
        if logits[0].shape[2:] != label.shape[2:]:
            label = interpolate(label.float(), size=logits[0].shape[2:], mode="nearest-exact").long()
        at_size = Targets(label, targets.labelled)
        losses = [self.segmentation(view, at_size) for view in logits[: self.method.supervised_views]]
        return torch.stack(losses).sum()
