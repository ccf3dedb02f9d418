"""The loss of a training step: segmentation on the supervised views, and what the method adds to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def forward(self, outputs: Tensor, targets: StepTargets) -> Tensor:
        """Return the scalar loss of outputs [views * B, classes + extra channels, *spatial]."""
        views = torch.split(outputs.float(), len(targets.clean))
        logits = [view[:, : self.classes] for view in views]
        extra = [view[:, self.classes :] for view in views]
        loss: Tensor = self.segmentation(logits[0], targets.segmentation)
        for view in logits[1 : self.method.supervised_views]:
            loss = loss + self.segmentation(view, targets.segmentation)
        more = self.method.extra_loss(logits, extra, targets.clean)
        return loss if more is None else loss + more
