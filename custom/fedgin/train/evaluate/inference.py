"""Segment one preprocessed case with a network: the one way, for scores and for predictions."""

import math
from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn

from fedgin.nets.dsbn import route

# So many pixels are segmented at once, 42 slices of 128 x 96 or 8 of 256 x 256: with more, what the network computes
# falls out of the processor's cache, and with fewer small slices it calls more than it computes.
PIXELS_AT_ONCE = 2**19
# What two neighbouring patches of a volume share along each axis.
OVERLAP = 0.5


class CaseInferer(Inferer):
    """Segments a case in batches of slices or of patches, each with the case's modality told to the network.

    Slices do not overlap, so nothing is averaged, which MONAI's ``SliceInferer`` takes a tenth of the time for. Patches
    overlap by half and count less towards their sides, by MONAI's ``SlidingWindowInferer``; a volume that is smaller
    than a patch is continued with its border, as in training. The device holds one batch, however large the volume is.

    Args:
        window: what the network sees at once, (X, Y) of a slice or (D, X, Y) of a patch.
        device: where the network is.

    Attributes:
        modality: the modality of the case, ``CT`` or ``MR``; set before each case.
    """

    modality: str

    def __init__(self, window: tuple[int, ...], device: torch.device) -> None:
        super().__init__()
        self.of_slices = len(window) == 2
        self.at_once = max(1, PIXELS_AT_ONCE // math.prod(window))
        self.device = device
        self.patches = SlidingWindowInferer(
            roi_size=window,
            sw_batch_size=self.at_once,
            overlap=OVERLAP,
            mode="gaussian",
            padding_mode="replicate",
            sw_device=device,
            device=torch.device("cpu"),
        )

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Return the probabilities [1, classes, D, X, Y] of a volume [1, 1, D, X, Y], both on the CPU."""

        def predict(batch: Tensor) -> Tensor:
            route(network, [self.modality] * len(batch))
            logits: Tensor = network(batch).float()
            return logits

        if self.of_slices:
            return self._segment_slices(inputs, predict)
        logits: Tensor = self.patches(inputs, predict)
        for place in logits[0].unbind(1):  # one slice after the other: a second volume of all classes is never there
            place.copy_(place.softmax(0))
        return logits

    def _segment_slices(self, inputs: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        slices = inputs[0, 0, :, None]
        found = torch.empty(0)
        for start in range(0, len(slices), self.at_once):
            probabilities = predict(slices[start : start + self.at_once].to(self.device)).softmax(1)
            if start == 0:
                found = torch.empty(probabilities.shape[1], len(slices), *probabilities.shape[2:])
            found[:, start : start + self.at_once] = probabilities.transpose(0, 1)
        return found[None]


def predict_probabilities(network: nn.Module, image: Tensor, modality: str, inferer: CaseInferer) -> Tensor:
    """Return the class probabilities of a preprocessed case.

    Args:
        network: the network in evaluation mode.
        image: float32 [D, X, Y], normalised, on the CPU.
        modality: ``CT`` or ``MR``.
        inferer: for what the network sees and where it is.

    Returns:
        float32 [classes, D, X, Y] on the CPU, class 0 is background; they add up to 1.
    """
    inferer.modality = modality
    with torch.inference_mode():
        return inferer(image[None, None], network)[0]
