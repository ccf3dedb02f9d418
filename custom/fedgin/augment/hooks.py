"""What a method may ask of training beside a changed image; the defaults ask for nothing."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Guide:
    """What training knows of a batch beside its images.

    Attributes:
        label: integer [B, 1, *spatial], class numbers; an organ that the sample's site does not label is background.
        gradient: maps images like the batch to the gradient of the segmentation loss with respect to each of their
            pixels, float32 of their shape. It costs a forward and half a backward pass of the network, and changes
            neither its weights nor its statistics.
    """

    label: Tensor
    gradient: Callable[[Tensor], Tensor]


class TrainingHooks(ABC):
    """Hooks that the trainer and the network call; a method overrides the ones it needs.

    Attributes:
        supervised_views: how many of the first views the segmentation loss is computed on; their losses are added.
        extra_channels: network outputs beyond the classes, such as one for the reconstruction of a filtered image.
            They come from the last layer of the same decoder and are dropped outside of training.
        progress: share of the whole run's steps that are done, from 0 to 1; the trainer sets it before each step.
    """

    supervised_views: int = 1
    extra_channels: int = 0
    progress: float = 1.0

    @abstractmethod
    def views(self, image: Tensor, *, gen: torch.Generator, body: Tensor | None = None) -> list[Tensor]:
        """Return the versions of a batch that the network is trained on, each like ``image`` [B, C, *spatial].

        Args:
            image: clean, after geometric augmentation.
            gen: the step's randomness, a CPU generator.
            body: bool [B, 1, *spatial], true inside the patient.
        """

    def guided_views(
        self, image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor | None = None
    ) -> list[Tensor]:
        """Return the views of a batch whose labels are known: what training asks for.

        A method that uses labels or the network's gradient overrides this one; the others do not look at ``guide``.
        """
        return self.views(image, gen=gen, body=body)

    def check_axes(self, axes: int) -> None:  # noqa: B027 - most methods fit any image
        """Check that the method fits images with so many spatial axes, before it sees one.

        Raises:
            ConfigError: a parameter does not fit.
        """

    def show_clean(self, views: Sequence[Tensor], image: Tensor, rows: Tensor) -> list[Tensor]:
        """Return the views of a batch, each with the samples of ``rows`` as the network is shown them to segment."""
        if not len(rows):
            return list(views)
        clean = self.at_inference(image[rows])
        return [view.index_copy(0, rows, clean) for view in views]

    def extra_loss(self, logits: Sequence[Tensor], extra: Sequence[Tensor], clean: Tensor) -> Tensor | None:
        """Return what is added to the segmentation loss, or nothing.

        Args:
            logits: the logits of each view, float32 [B, classes, *spatial].
            extra: the extra outputs of each view, float32 [B, extra_channels, *spatial].
            clean: the image before augmentation.
        """
        return None

    def at_inference(self, image: Tensor) -> Tensor:
        """Return what the network is shown in place of an image [B, C, *spatial] when it segments."""
        return image
