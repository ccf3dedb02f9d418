"""How much memory one training step takes: an upper bound, so that a plan never exceeds its budget.

Counted in numbers of 4 bytes; mixed precision on a GPU takes less. ``benchmarks/plan_memory.py`` holds it against
measured steps, ``docs/planning.md`` has the table.
"""

import math
from collections.abc import Sequence

from fedgin.planning.topology import Topology

BYTES = 4
# Python with PyTorch and MONAI, or what a GPU's own context takes.
BASE = 700_000_000
# What the backward pass needs of a level, per voxel: the input and output of each of two convolutions and two
# normalisations; in the decoder also skip and enlarged features, joined.
ENCODER, DECODER = 4, 6
# Gradients and copies of the finest level that exist for a moment, in features per voxel.
PASSING = 8
# Probabilities, one-hot labels and their products in the loss, in classes per voxel.
LOSS = 16
# The image, the label, the body, and what the augmentation makes of them, per voxel.
IMAGES = 40
# Weights, gradients, two moments of AdamW, and two copies while it steps.
WEIGHTS = 6


def training_bytes(size: Sequence[int], topology: Topology, *, classes: int, batch: int) -> int:
    """Return an upper bound for the memory of a training step in bytes.

    Args:
        size: of what the network sees.
        topology: of the network.
        classes: its outputs.
        batch: samples in a step.
    """
    voxels, sides = [], list(size)
    for strides in topology.strides:
        sides = [side // stride for side, stride in zip(sides, strides, strict=True)]
        voxels.append(math.prod(sides))
    features = [channels * count for channels, count in zip(topology.channels, voxels, strict=True)]
    sample = ENCODER * sum(features) + DECODER * sum(features[:-1]) + PASSING * max(features)
    sample += (LOSS * classes + IMAGES) * voxels[0]
    return BASE + BYTES * (batch * sample + WEIGHTS * count_weights(topology, classes))


def count_weights(topology: Topology, classes: int) -> int:
    """Return the number of weights of MONAI's ``DynUNet``; a normalisation has two a channel."""
    channels, kernels = topology.channels, [math.prod(kernel) for kernel in topology.kernels]
    total, before = channels[0] * classes + classes, 1
    for count, kernel in zip(channels, kernels, strict=True):
        total += _block(before, count, kernel)
        before = count
    for fine, coarse, kernel, strides in zip(channels, channels[1:], kernels[1:], topology.strides[1:], strict=False):
        total += coarse * fine * math.prod(strides) + _block(2 * fine, fine, kernel)
    return total


def _block(before: int, after: int, kernel: int) -> int:
    return (before + after) * after * kernel + 4 * after
