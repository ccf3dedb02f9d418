"""One phantom body: what was drawn for it, rasterised on any grid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.fields import SplineField, draw_spline_field
from fedgin.phantoms.grid import Grid
from fedgin.phantoms.layers import Layer, paint
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import Habitus


@dataclass(frozen=True)
class Anatomy:
    """Everything that was drawn for one body: its habitus, the solids in painter's order, and the deformation.

    ``deformation`` holds a broad and a fine field per axis, in millimetres.
    """

    habitus: Habitus
    layers: tuple[Layer, ...]
    deformation: tuple[tuple[SplineField, SplineField], ...]


def deformed(habitus: Habitus, layers: Iterable[Layer], rng: np.random.Generator) -> Anatomy:
    """Return the body of these layers with a deformation drawn for it."""
    fields = [(draw_spline_field(rng, 80.0, 3.5), draw_spline_field(rng, 32.0, 1.3)) for _ in range(3)]
    return Anatomy(habitus, tuple(layers), tuple(fields))


def rasterise(anatomy: Anatomy, grid: Grid) -> NDArray[np.uint8]:
    """Return the tissue codes (:class:`Tissue`) at the voxel centres, of ``grid.shape``."""
    x, y, z = (broad.on(grid) + fine.on(grid) for broad, fine in anatomy.deformation)
    return paint(anatomy.layers, grid, (x, y, z))


def label_tissues(
    tissues: NDArray[np.uint8], organs: Mapping[str, tuple[Tissue, ...]], label_ids: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Return a label volume of the same shape; organs without an id, and tissues of no organ, are 0."""
    ids = np.zeros(256, dtype=np.uint8)
    for organ, codes in organs.items():
        ids[list(codes)] = label_ids.get(organ, 0)
    labels: NDArray[np.uint8] = ids[tissues]
    return labels
