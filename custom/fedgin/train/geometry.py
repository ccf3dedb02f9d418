"""Rotate, scale and shift a whole batch in one call on its device, slices and volumes alike; a draw can be replayed."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedgin.train.experiment import SpatialSettings


@dataclass(frozen=True)
class GeometryDraw:
    """Every random number of one call, on the CPU; applying it again moves everything to the same place.

    Attributes:
        applied: bool [B]; samples that are moved at all.
        matrices: float32 [B, axes, axes + 1]; where each voxel of the result lies in the image. Both are counted in
            voxels from the centre of the image, axes in the order of the batch.
    """

    applied: Tensor
    matrices: Tensor


class GeometricAugmentation:
    """Draw an affine map for each sample, and move image, label and body mask by it together.

    Args:
        settings: the ranges; every number is uniform between minus and plus its range.
        spacing: size of a voxel along each axis of the batch, in any unit. A rotation is one of the body, so that thick
            slices are not sheared.
    """

    def __init__(self, settings: SpatialSettings, spacing: Sequence[float]) -> None:
        self.settings = settings
        self.spacing = torch.tensor(spacing)

    def draw(self, batch: int, *, gen: torch.Generator) -> GeometryDraw:
        """Draw for a batch, with a CPU generator, so that a draw is the same whichever device applies it.

        A plane turns about the third axis; a volume turns about each.
        """
        axes = len(self.spacing)
        planes = list(itertools.combinations(range(axes), 2))
        applied = torch.rand(batch, generator=gen) < self.settings.probability
        angles = _uniform(batch, len(planes), math.radians(self.settings.rotation_degrees), gen)
        scales = 1.0 + _uniform(batch, axes, self.settings.scale, gen)
        shifts = _uniform(batch, axes, self.settings.shift_pixels, gen)
        rotation = torch.eye(axes).expand(batch, axes, axes)
        for number, plane in enumerate(planes):
            rotation = rotation @ _turn(angles[:, number], plane, axes)
        linear = rotation * scales[:, None] * self.spacing / self.spacing[:, None]
        return GeometryDraw(applied, torch.cat([linear, shifts[..., None]], dim=2))

    @staticmethod
    def apply(image: Tensor, label: Tensor, body: Tensor, draw: GeometryDraw) -> tuple[Tensor, Tensor, Tensor]:
        """Move a batch; what lies beyond an image is continued with its border.

        Args:
            image: float32 [B, 1, *spatial], interpolated linearly.
            label: uint8 [B, 1, *spatial], never interpolated.
            body: bool [B, 1, *spatial]; likewise.
            draw: of :meth:`draw` for this batch.

        Returns:
            image, label and body mask; the label as int64, which losses need.
        """
        moved = draw.applied.nonzero().flatten()
        marks = torch.cat([label, body], dim=1)  # bytes, until what is moved becomes float
        if len(moved):
            index = moved.to(image.device)
            grid = _sampling_grid(draw.matrices[moved].to(image.device), image.shape[2:])
            shown = F.grid_sample(image[index], grid, mode="bilinear", padding_mode="border", align_corners=False)
            image = image.index_copy(0, index, shown)
            there = F.grid_sample(
                marks[index].float(), grid, mode="nearest", padding_mode="border", align_corners=False
            )
            marks = marks.index_copy(0, index, there.to(marks.dtype))
        return image, marks[:, :1].long(), marks[:, 1:].bool()


def _uniform(batch: int, count: int, limit: float, gen: torch.Generator) -> Tensor:
    return limit * (2.0 * torch.rand(batch, count, generator=gen) - 1.0)


def _turn(angles: Tensor, plane: tuple[int, int], axes: int) -> Tensor:
    """Return the rotations [B, axes, axes] by these angles in the plane of two axes."""
    first, second = plane
    turn = torch.eye(axes).repeat(len(angles), 1, 1)
    turn[:, first, first] = turn[:, second, second] = angles.cos()
    turn[:, first, second], turn[:, second, first] = -angles.sin(), angles.sin()
    return turn


def _sampling_grid(matrices: Tensor, spatial: Sequence[int]) -> Tensor:
    """Return PyTorch's sampling grid [B, *spatial, axes]: an image spans -1 to 1, and its last axis comes first.

    As ``affine_grid`` makes it, but with one sum for each axis instead of a matrix product for each voxel, and a plane
    for each coordinate, which ``grid_sample`` reads faster.
    """
    axes = len(spatial)
    half = matrices.new_tensor(spatial).flip(0).view(1, axes, *[1] * axes) / 2.0
    # By column: how far a voxel along that axis moves in the grid, and where the centre is.
    columns = [column.flip(1).reshape(-1, axes, *[1] * axes) / half for column in matrices.unbind(2)]
    where = columns[axes]
    for axis, size in enumerate(spatial):
        voxels = torch.arange(size, device=matrices.device) - (size - 1) / 2.0
        where = where + columns[axis] * voxels.view([-1 if other == axis else 1 for other in range(axes)])
    return where.movedim(1, -1)
