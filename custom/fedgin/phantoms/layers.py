"""Layers: the painter's order in which solids fill a tissue volume."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from fedgin.phantoms.grid import Grid, Vector
from fedgin.phantoms.shapes import Box, Capsule, Inset, Points, Shape
from fedgin.phantoms.tissues import Tissue


@dataclass(frozen=True)
class Layer:
    """Paint ``tissue`` inside ``shape``, but only where one of the tissues ``over`` lies already."""

    tissue: Tissue
    shape: Shape
    over: frozenset[Tissue]


def paint(layers: Iterable[Layer], grid: Grid, displacement: Points) -> NDArray[np.uint8]:
    """Return the tissue volume (uint8 of ``grid.shape``) of layers painted in order over air.

    ``displacement`` is where each voxel looks, in millimetres from its own position: that deforms every solid alike.
    """
    axes = grid.axes()
    sparse = np.meshgrid(*axes, indexing="ij", sparse=True)
    points = [axis + shift for axis, shift in zip(sparse, displacement, strict=True)]
    margin = max(float(np.abs(shift).max()) for shift in displacement)
    volume = np.zeros(grid.shape, dtype=np.uint8)
    for layer in layers:
        box = _voxel_box(layer.shape.bounds(), axes, margin)
        _paint_layer(layer, volume[box], (points[0][box], points[1][box], points[2][box]))
    return volume


def _paint_layer(layer: Layer, part: NDArray[np.uint8], points: Points) -> None:
    """Paint into ``part``, a view of the volume. Only voxels the layer may cover are evaluated, for speed."""
    allowed = np.zeros(256, dtype=np.bool_)
    allowed[list(layer.over)] = True
    inside = allowed[part]
    inside[inside] = layer.shape.distance((points[0][inside], points[1][inside], points[2][inside])) < 0
    part[inside] = layer.tissue


def _voxel_box(box: Box, axes: Points, margin: float) -> tuple[slice, slice, slice]:
    x, y, z = (
        slice(int(np.searchsorted(axis, low - margin)), int(np.searchsorted(axis, high + margin)))
        for axis, low, high in zip(axes, *box, strict=True)
    )
    return x, y, z


def tube(points: Sequence[Vector], radii: Sequence[float], step_mm: float = 9.0) -> list[Capsule]:
    """Return capsules along a smooth curve through ``points`` whose radius follows ``radii``, both in millimetres."""
    nodes = np.array(points, dtype=np.float64)
    lengths = np.linalg.norm(np.diff(nodes, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    # Radii are interpolated linearly, since a spline through them could overshoot below zero.
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1] / step_mm)) + 1))
    curve = CubicSpline(along, nodes)(at)
    width = np.interp(at, along, radii)
    places: list[Vector] = [(float(x), float(y), float(z)) for x, y, z in curve]
    return [Capsule(places[i], places[i + 1], float(width[i]), float(width[i + 1])) for i in range(len(places) - 1)]


def fill(tissue: Tissue, shapes: Iterable[Shape], over: frozenset[Tissue]) -> list[Layer]:
    """Return one layer per shape, all of the same tissue."""
    return [Layer(tissue, shape, over) for shape in shapes]


def hollow(shapes: Sequence[Shape], wall_mm: float, over: frozenset[Tissue]) -> list[Layer]:
    """Return layers of a hollow organ: its wall everywhere first, then its content inside."""
    walls = fill(Tissue.GUT_WALL, shapes, over)
    content = fill(Tissue.GUT_CONTENT, [Inset(shape, wall_mm) for shape in shapes], frozenset({Tissue.GUT_WALL}))
    return [*walls, *content]
