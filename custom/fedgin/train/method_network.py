"""A network as a method uses it: with outputs of the method's own in training, and its filter before it elsewhere."""

from collections.abc import Sequence

from torch import Tensor, nn

from fedgin.augment.hooks import TrainingHooks


class MethodNetwork(nn.Module):
    """In training mode the network itself; in evaluation mode a segmenter that prepares its input as the method asks.

    Whoever validates, reports or deploys the model therefore calls it with a preprocessed image, whatever the method.

    Args:
        network: has ``classes`` plus the method's extra outputs.
        method: gives the filter.
        classes: number of classes with background.
    """

    def __init__(self, network: nn.Module, method: TrainingHooks, classes: int) -> None:
        super().__init__()
        self.network = network
        self.method = method
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor | Sequence[Tensor]:
        """Map images [B, 1, *spatial] to all outputs (training) or to logits [B, classes, *spatial] (evaluation)."""
        if self.training:
            outputs: Tensor | Sequence[Tensor] = self.network(image)
            return outputs
        logits: Tensor = self.network(self.method.at_inference(image))[:, : self.classes]
        return logits


def for_method(network: nn.Module, method: TrainingHooks, classes: int) -> nn.Module:
    """Return the network inside a :class:`MethodNetwork`, or as it is where the method needs none."""
    needed = method.extra_channels or type(method).at_inference is not TrainingHooks.at_inference
    return MethodNetwork(network, method, classes) if needed else network
