"""Training losses that do not teach a network that an organ is background where a site has not labelled it."""

from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss
from torch import Tensor, nn

from fedgin.train.experiment import LossSettings


@dataclass(frozen=True)
class Targets:
    """What a batch should look like.

    Attributes:
        label: int64 [B, 1, *spatial], class numbers; classes the site does not label never occur.
        labelled: bool [B, classes], on the CPU: which classes the sample's site labels. Background always is.
    """

    label: Tensor
    labelled: Tensor


class MarginalLoss(nn.Module):
    """Apply a loss after adding the probability of unlabelled organs to background.

    Where a site does not label the pancreas, its pancreas voxels say background, though nobody looked. Their true class
    is "background or pancreas", and the probability of that is the sum of the two (marginal loss: Fidon et al. 2021,
    Shi et al. 2021). The sum is taken on the logits by logsumexp; the unlabelled class is then switched off. Where
    every organ is labelled this is the wrapped loss, exactly.

    Args:
        loss: takes logits [B, classes, ...] and class numbers [B, 1, ...].
    """

    # exp(OFF) is 0 in float32 and float16, and unlike -inf it cannot turn into NaN in a product.
    OFF = -1e4

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """Return the scalar loss of a batch."""
        result: Tensor = self.loss(merge_unlabelled(logits.float(), targets.labelled), targets.label)
        return result


def merge_unlabelled(logits: Tensor, labelled: Tensor) -> Tensor:
    """Move the probability of unlabelled classes to background.

    Args:
        logits: [B, classes, ...].
        labelled: bool [B, classes].

    Returns:
        logits whose softmax has, per sample, background plus all unlabelled classes in channel 0.
    """
    if bool(labelled.all()):
        return logits
    shape = (*labelled.shape, *[1] * (logits.dim() - 2))
    keep = labelled.to(logits.device).reshape(shape)
    merged = keep.logical_not()
    merged[:, 0] = True
    background = torch.where(merged, logits, torch.full_like(logits, MarginalLoss.OFF)).logsumexp(1, keepdim=True)
    organs = torch.where(keep, logits, torch.full_like(logits, MarginalLoss.OFF))[:, 1:]
    return torch.cat([background, organs], dim=1)


def build_loss(settings: LossSettings) -> MarginalLoss:
    """Build the loss: softmax, Dice without background and over the whole batch, plus cross-entropy or focal.

    Dice over the batch instead of each slice avoids the jump between 0 and 1 of a slice without the organ. It is the
    mean over all organs of the experiment, and those that a batch's sites do not label count as found: so an organ
    weighs the same at every site that labels it, however many others the site labels.
    """
    if settings.name == "dice_ce":
        return MarginalLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True))
    return MarginalLoss(_DiceFocalLoss())


class _DiceFocalLoss(nn.Module):
    """Dice plus focal loss, both on the softmax; MONAI's own sum of the two takes the focal part on sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
        self.focal = FocalLoss(to_onehot_y=True, use_softmax=True)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        total: Tensor = self.dice(logits, label) + self.focal(logits, label)
        return total
