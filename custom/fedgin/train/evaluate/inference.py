"""Segment one preprocessed case with a network: the one way, for scores and for predictions."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import Inferer, SlidingWindowInferer
from numpy.typing import NDArray
from torch import Tensor, nn

from fedgin.data.native_labels import join_native_labels
from fedgin.data.resampling import VoxelGrid
from fedgin.nets.dsbn import route

# So many pixels are segmented at once, 42 slices of 128 x 96 or 8 of 256 x 256: with more, what the network computes
# falls out of the processor's cache, and with fewer small slices it calls more than it computes.
PIXELS_AT_ONCE = 2**19
# What two neighbouring patches of a volume share along each axis.
OVERLAP = 0.5
GAUSSIAN = "gaussian"


@dataclass(frozen=True)
class Segmented:
    """What is segmented beside the preprocessed image.

    Attributes:
        modality: ``CT`` or ``MR``.
        affine: 4x4, of the canonical volume [X, Y, D].
        native: the grid of the original image, to which labels return.
    """

    modality: str
    affine: NDArray[np.float64]
    native: VoxelGrid


class CaseInferer(Inferer):
    """Segments a case in batches of slices or of patches, each with the case's modality told to the network.

    Slices do not overlap, so nothing is averaged, which MONAI's ``SliceInferer`` takes a tenth of the time for. Patches
    overlap by half and count less towards their sides, by a Gaussian. A volume that is smaller than a patch is
    continued with its border, as in training.

    A case goes through the network from its first slice to its last, and a slice returns to the image's own grid as
    soon as its probabilities are known. So the device holds one batch, and the computer the probabilities of one batch
    of slices, or of two layers of patches, however long the volume is.

    Args:
        window: what the network sees at once, (X, Y) of a slice or (D, X, Y) of a patch.
        device: where the network is.

    Attributes:
        case: what is segmented; set before each case.
    """

    case: Segmented

    def __init__(self, window: tuple[int, ...], device: torch.device) -> None:
        super().__init__()
        self.window = window
        self.at_once = max(1, PIXELS_AT_ONCE // math.prod(window))
        self.device = device

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Return the labels uint8 [1, X, Y, Z] on the case's own grid, of a volume [1, 1, D, X, Y] on the CPU."""
        pieces = self.probabilities(inputs[0, 0], network)
        labels = join_native_labels(pieces, len(inputs[0, 0]), self.case.affine, self.case.native)
        return torch.from_numpy(labels)[None]

    def probabilities(self, image: Tensor, network: nn.Module) -> Iterator[Tensor]:
        """Yield the class probabilities of an image [D, X, Y] from its first slice to its last.

        Yields:
            float32 [classes, slices, X, Y] on the CPU, class 0 is background; they add up to 1.
        """

        def predict(batch: Tensor) -> Tensor:
            route(network, [self.case.modality] * len(batch))
            logits: Tensor = network(batch).float()
            return logits

        if len(self.window) == 2:
            for batch in torch.split(image[:, None], self.at_once):
                yield predict(batch.to(self.device)).softmax(1).transpose(0, 1).cpu()
        else:
            for logits in self._blended(image, predict):
                yield logits.softmax(0)

    def _blended(self, image: Tensor, predict: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield logits [classes, slices, X, Y], layer of patches by layer; each layer is MONAI's sliding window.

        MONAI's Gaussian is a product of one along each axis, so the layers are blended with the one along theirs.
        """
        depth = self.window[0]
        layer = SlidingWindowInferer(
            self.window, self.at_once, OVERLAP, GAUSSIAN, padding_mode="replicate", sw_device=self.device, device="cpu"
        )
        starts = [part.start for (part,) in dense_patch_slices([len(image)], [depth], [int(depth * (1 - OVERLAP))])]
        weights = compute_importance_map((depth,), mode=GAUSSIAN).view(1, depth, 1, 1)[:, : len(image)]
        sums, total = torch.zeros(1, 0, 1, 1), torch.zeros(1, 0, 1, 1)
        for start, following in zip(starts, [*starts[1:], len(image)], strict=True):
            logits = layer(image[None, None, start : start + depth], predict)[0] * weights
            known = sums.shape[1]
            logits[:, :known] += sums
            share = torch.cat([total + weights[:, :known], weights[:, known:]], dim=1)
            done = following - start
            yield logits[:, :done] / share[:, :done]
            sums, total = logits[:, done:], share[:, done:]


def segment_case(network: nn.Module, image: Tensor, case: Segmented, inferer: CaseInferer) -> NDArray[np.uint8]:
    """Return the labels of a preprocessed case on its own grid, uint8 [X, Y, Z].

    Args:
        network: the network in evaluation mode.
        image: float32 [D, X, Y], normalised, on the CPU.
        case: what it is.
        inferer: for what the network sees and where it is.
    """
    inferer.case = case
    with torch.inference_mode():
        labels: NDArray[np.uint8] = inferer(image[None, None], network)[0].numpy()
    return labels
