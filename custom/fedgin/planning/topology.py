"""How deep a U-Net is, and which kernels and strides it has along each axis, by the rules of nnU-Net.

Isensee et al. (Nature Methods 18, 203-211, 2021): axes of lower resolution are left alone until the others have come
within a factor of two of them; an axis is halved until it has 4 voxels; kernels have size 1 along an axis that is more
than twice as coarse as the finest, else 3; features begin with 32, are doubled, and end at 320 (3D) or 512 (2D).
"""

from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST_FEATURES = 4
NEAR = 2.0
FIRST_CHANNELS = 32
MOST_CHANNELS = {2: 512, 3: 320}
# What the networks here have at most; 1024 pixels are halved to 8.
MOST_LEVELS = 8


@dataclass(frozen=True)
class Topology:
    """A U-Net, the finest level first.

    Attributes:
        channels: of each level.
        strides: of each level along each axis; the first are 1.
        kernels: of the convolutions of each level along each axis.
    """

    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.channels)


def plan_topology(size: Sequence[int], spacing: Sequence[float]) -> Topology:
    """Plan a U-Net for what it sees.

    An odd side is not halved any more: nnU-Net enlarges the patch for it.

    Args:
        size: along each axis, at least 16.
        spacing: of the voxels in mm along the same axes.
    """
    axes = range(len(size))
    sides, steps = list(size), list(spacing)
    strides, kernels = [(1,) * len(size)], [_kernel(steps)]
    while len(strides) < MOST_LEVELS:
        large = [axis for axis in axes if sides[axis] >= 2 * SMALLEST_FEATURES and sides[axis] % 2 == 0]
        finest = min((steps[axis] for axis in large), default=0.0)
        halved = [axis for axis in large if steps[axis] < NEAR * finest]
        if not halved:
            break
        for axis in halved:
            sides[axis] //= 2
            steps[axis] *= 2.0
        strides.append(tuple(2 if axis in halved else 1 for axis in axes))
        # Along an axis that once had a kernel of 3 it stays 3.
        kernels.append(tuple(map(max, kernels[-1], _kernel(steps))))
    most = MOST_CHANNELS[len(size)]
    channels = tuple(min(FIRST_CHANNELS * 2**level, most) for level in range(len(strides)))
    return Topology(channels, tuple(strides), tuple(kernels))


def _kernel(steps: Sequence[float]) -> tuple[int, ...]:
    return tuple(3 if step < NEAR * min(steps) else 1 for step in steps)
