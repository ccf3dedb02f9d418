"""One phantom body: drawn once from a generator, then rasterised on any grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedgin.data.phantoms.fields import SplineField, draw_spline_field
from fedgin.data.phantoms.grid import Grid
from fedgin.data.phantoms.gut import bowel_layers, stomach_layers, vessel_layers
from fedgin.data.phantoms.layers import Layer, paint
from fedgin.data.phantoms.tissues import Tissue
from fedgin.data.phantoms.trunk import Habitus, draw_habitus, trunk_layers
from fedgin.data.phantoms.viscera import (
    gallbladder_layers,
    kidney_layers,
    liver_layers,
    pancreas_layers,
    spleen_layers,
)

_SINGLE_ORGANS = {
    "liver": (Tissue.LIVER, Tissue.HEPATIC_VESSEL),
    "spleen": (Tissue.SPLEEN,),
    "gallbladder": (Tissue.GALLBLADDER,),
    "pancreas": (Tissue.PANCREAS,),
}
_KIDNEY = (Tissue.RENAL_CORTEX, Tissue.RENAL_MEDULLA)


@dataclass(frozen=True)
class Anatomy:
    """Everything that was drawn for one body: its habitus, the solids in painter's order, and the deformation.

    ``deformation`` holds a broad and a fine field per axis, in millimetres.
    """

    habitus: Habitus
    layers: tuple[Layer, ...]
    deformation: tuple[tuple[SplineField, SplineField], ...]


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the parameters of one body."""
    body = draw_habitus(rng)
    # The order decides who yields where two solids meet: later layers name the tissues they may cover.
    layers = [
        *trunk_layers(body, rng),
        *bowel_layers(body, rng),
        *stomach_layers(body, rng),
        *liver_layers(body, rng),
        *spleen_layers(body, rng),
        *kidney_layers(body, rng, side=1.0),
        *kidney_layers(body, rng, side=-1.0),
        *gallbladder_layers(body, rng),
        *pancreas_layers(body, rng),
        *vessel_layers(body, rng),
    ]
    fields = [(draw_spline_field(rng, 80.0, 3.5), draw_spline_field(rng, 32.0, 1.3)) for _ in range(3)]
    return Anatomy(body, tuple(layers), tuple(fields))


def rasterise(anatomy: Anatomy, grid: Grid) -> NDArray[np.uint8]:
    """Return the tissue codes (:class:`Tissue`) at the voxel centres, of ``grid.shape``."""
    x, y, z = (broad.on(grid) + fine.on(grid) for broad, fine in anatomy.deformation)
    return paint(anatomy.layers, grid, (x, y, z))


def organ_labels(tissues: NDArray[np.uint8], grid: Grid, label_ids: dict[str, int]) -> NDArray[np.uint8]:
    """Return a label volume of the same shape in which each organ of ``label_ids`` has its id and the rest is 0.

    Vessels inside the liver count as liver; the renal sinus does not count as kidney. A kidney is told from the other
    by the side of the midline it lies on.
    """
    ids = np.zeros(256, dtype=np.uint8)
    for organ, codes in _SINGLE_ORGANS.items():
        ids[list(codes)] = label_ids.get(organ, 0)
    labels: NDArray[np.uint8] = ids[tissues]
    kidney = np.isin(tissues, _KIDNEY)
    right = (grid.axes()[0] > 0)[:, None, None]
    labels[kidney & right] = label_ids.get("right_kidney", 0)
    labels[kidney & ~right] = label_ids.get("left_kidney", 0)
    return labels
