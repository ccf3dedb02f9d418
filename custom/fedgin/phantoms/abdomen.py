"""The upper abdomen of a phantom body and its organ labels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.anatomy import Anatomy, deformed, label_tissues
from fedgin.phantoms.grid import Grid
from fedgin.phantoms.gut import bowel_layers, stomach_layers, vessel_layers
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import draw_habitus, trunk_layers
from fedgin.phantoms.viscera import (
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


def draw_abdomen(rng: np.random.Generator) -> Anatomy:
    """Draw the abdomen of one body."""
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
    return deformed(body, layers, rng)


def label_abdomen(tissues: NDArray[np.uint8], grid: Grid, label_ids: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label volume of the same shape in which each organ of ``label_ids`` has its id and the rest is 0.

    Vessels inside the liver count as liver; the renal sinus does not count as kidney. A kidney is told from the other
    by the side of the midline it lies on.
    """
    labels = label_tissues(tissues, _SINGLE_ORGANS, label_ids)
    kidney = np.isin(tissues, _KIDNEY)
    right = (grid.axes()[0] > 0)[:, None, None]
    labels[kidney & right] = label_ids.get("right_kidney", 0)
    labels[kidney & ~right] = label_ids.get("left_kidney", 0)
    return labels
