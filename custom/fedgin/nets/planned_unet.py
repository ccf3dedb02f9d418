"""A U-Net whose depth, strides and kernels are chosen for each level, and for each axis where voxels are no cubes."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from fedgin.nets.architecture import AXES, Architecture, Channels

Stride = Annotated[int, Field(ge=1, le=2)]
Kernel = Annotated[int, Field(ge=1, le=7)]
Strides = Annotated[list[Stride | list[Stride]], Field(min_length=2, max_length=8)]
Kernels = Annotated[list[Kernel | list[Kernel]], Field(min_length=2, max_length=8)]


class PlannedUNet(Architecture):
    """What nnU-Net plans of a network (Isensee et al. 2021).

    An entry of ``strides`` or ``kernel_sizes`` is one number for all axes, or one an axis: the slice axis of a volume
    first, then x and y.

    Attributes:
        channels: of each level, the finest first; there are as many levels.
        strides: how many times smaller each level is than the one above it, 1 or 2. The first is 1; by default the
            others are 2.
        kernel_sizes: of the convolutions of each level, odd; by default 3.
    """

    channels: Channels = Field(default=[16, 32, 64, 128])
    strides: Strides | None = None
    kernel_sizes: Kernels | None = None

    @model_validator(mode="after")
    def _levels_agree(self) -> "PlannedUNet":
        levels = len(self.channels)
        for name, entries in self.planned().items():
            if len(entries) != levels:
                raise ValueError(f"{name} has {len(entries)} levels, channels has {levels}")
        if set(_numbers(self.level_strides()[0])) != {1}:
            raise ValueError("strides begins with another number than 1, so the logits would be smaller than the image")
        if any(size % 2 == 0 for entry in self.level_kernels() for size in _numbers(entry)):
            raise ValueError("kernel_sizes holds an even number; odd kernels keep the size of an image")
        return self

    def level_strides(self) -> Sequence[int | list[int]]:
        """Return the strides of all levels."""
        return self.strides or [1] + [2] * (len(self.channels) - 1)

    def level_kernels(self) -> Sequence[int | list[int]]:
        """Return the kernel sizes of all levels."""
        return self.kernel_sizes or [3] * len(self.channels)

    def planned(self) -> dict[str, Sequence[int | list[int]]]:
        """Return what has an entry for each level, by the name of its parameter."""
        return {"strides": self.level_strides(), "kernel_sizes": self.level_kernels()}

    def reductions(self, axes: int) -> tuple[int, ...]:
        """Return the product of the strides along each axis."""
        total = [1] * axes
        for entry in self.level_strides():
            total = [before * stride for before, stride in zip(total, by_axis(entry, axes), strict=True)]
        return tuple(total)

    def check_size(self, size: Sequence[int]) -> None:
        """Check the number of axes of each entry too; see :meth:`Architecture.check_size`."""
        axes = len(size)
        faults = [
            f"{name} has {entry} for level {level}"
            for name, entries in self.planned().items()
            for level, entry in enumerate(entries, start=1)
            if isinstance(entry, list) and len(entry) != axes
        ]
        if faults:
            raise ValueError(f"{'; '.join(faults)}: give one number, or {axes} ({', '.join(AXES[axes])})")
        super().check_size(size)


def by_axis(entry: int | list[int], axes: int) -> list[int]:
    """Return one number for each axis."""
    return entry if isinstance(entry, list) else [entry] * axes


def _numbers(entry: int | list[int]) -> list[int]:
    return entry if isinstance(entry, list) else [entry]
