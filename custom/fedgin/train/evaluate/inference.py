"""Segment one preprocessed case with a network: the one way, for scores and for predictions."""

from typing import Any

import torch
from monai.inferers import SliceInferer
from torch import Tensor, nn

from fedgin.nets.dsbn import route

# More slices at once fall out of the processor's cache.
SLICES_AT_ONCE = 32


class CaseInferer(SliceInferer):
    """MONAI's ``SliceInferer``, which tells the network the modality of each batch of slices; they are of one case.

    Args:
        slice_size: the size of an axial slice, (X, Y).

    Attributes:
        modality: the modality of the case, ``CT`` or ``MR``; set before each case.
    """

    modality: str

    def __init__(self, slice_size: tuple[int, int]) -> None:
        super().__init__(roi_size=slice_size, spatial_dim=0, sw_batch_size=SLICES_AT_ONCE, progress=False)

    def network_wrapper(self, network: nn.Module, x: Tensor, condition: Tensor | None = None, **more: Any) -> Tensor:
        """Route the batch, then do as MONAI does."""
        route(network, [self.modality] * len(x))
        logits: Tensor = super().network_wrapper(network, x, condition, **more)
        return logits


def predict_probabilities(network: nn.Module, image: Tensor, modality: str) -> Tensor:
    """Return the class probabilities of a preprocessed case.

    Args:
        network: the network in evaluation mode, on the device of ``image``.
        image: float32 [D, X, Y], normalised.
        modality: ``CT`` or ``MR``.

    Returns:
        float32 [classes, D, X, Y] on the CPU, class 0 is background; they add up to 1.
    """
    inferer = CaseInferer((int(image.shape[1]), int(image.shape[2])))
    inferer.modality = modality
    with torch.inference_mode():
        logits: Tensor = inferer(image[None, None], network)[0]
        return to_probabilities(logits)


def to_probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities of logits [classes, D, X, Y], on the CPU."""
    return logits.float().softmax(0).cpu()
