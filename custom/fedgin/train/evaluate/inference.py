"""Segment one preprocessed case with a network: the one way, for scores and for predictions."""

from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from fedgin.nets.dsbn import route

# So many pixels are segmented at once, 42 slices of 128 x 96 or 8 of 256 x 256: with more, what the network computes
# falls out of the processor's cache, and with fewer small slices it calls more than it computes.
PIXELS_AT_ONCE = 2**19


class CaseInferer(Inferer):
    """Segments the slices of one case in batches, each with the case's modality told to the network.

    Slices do not overlap, so nothing is averaged, which MONAI's ``SliceInferer`` takes a tenth of the time for.

    Attributes:
        modality: the modality of the case, ``CT`` or ``MR``; set before each case.
    """

    modality: str

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Return the probabilities of a volume [1, 1, D, X, Y], [1, classes, D, X, Y] on its device."""
        slices = inputs[0, 0, :, None]
        at_once = max(1, PIXELS_AT_ONCE // slices[0].numel())
        found = torch.empty(0)
        for start in range(0, len(slices), at_once):
            batch = slices[start : start + at_once]
            route(network, [self.modality] * len(batch))
            probabilities: Tensor = network(batch).float().softmax(1)
            if start == 0:
                found = probabilities.new_empty((probabilities.shape[1], len(slices), *probabilities.shape[2:]))
            found[:, start : start + at_once] = probabilities.transpose(0, 1)
        return found[None]


def predict_probabilities(network: nn.Module, image: Tensor, modality: str) -> Tensor:
    """Return the class probabilities of a preprocessed case.

    Args:
        network: the network in evaluation mode, on the device of ``image``.
        image: float32 [D, X, Y], normalised.
        modality: ``CT`` or ``MR``.

    Returns:
        float32 [classes, D, X, Y] on the CPU, class 0 is background; they add up to 1.
    """
    inferer = CaseInferer()
    inferer.modality = modality
    with torch.inference_mode():
        probabilities: Tensor = inferer(image[None, None], network)[0]
        return probabilities.cpu()
