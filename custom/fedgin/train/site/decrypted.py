"""Weights as they come out of decryption: without their shapes, and senseless where a site used another key."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from fedgin.errors import WeightsError
from fedgin.train.checkpoint import averaged_weights

# Another key turns every value into a number of about this size times ten; no entry of a trained network comes near it.
LARGEST = 1e5


def restore_weights(network: nn.Module, values: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Give decrypted values the shapes of the network's entries.

    Whether names and counts fit is for :func:`~fedgin.train.checkpoint.load_weights` to say.

    Args:
        network: stays as it is.
        values: the values by state-dict name, flat, or in their shape as in a first round, which is not encrypted.
        source: where they come from, for the error.

    Raises:
        WeightsError: a value is larger than 1e5 or NaN: a site encrypted its update with another key, or sent nonsense
            that the server cannot see.
    """
    for name, value in values.items():
        if value.is_floating_point() and not bool((value.abs() <= LARGEST).all()):
            raise WeightsError(
                f"{source}: entry '{name}' is senseless after decryption",
                "give all sites the kits of one provisioning; then look for a site that sends nonsense",
            )
    shapes = {name: entry.shape for name, entry in averaged_weights(network).items()}
    return {name: _shaped(value, shapes.get(name, value.shape)) for name, value in values.items()}


def _shaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return value.reshape(shape) if value.numel() == math.prod(shape) else value
