"""The parts of the body that phantoms exist of, and all that makes them differ: anatomy, labels and tissue tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.abdomen import draw_abdomen, label_abdomen
from fedgin.phantoms.anatomy import Anatomy
from fedgin.phantoms.cardiac_tissues import draw_cardiac_relaxation, draw_ct_angiography
from fedgin.phantoms.grid import Grid
from fedgin.phantoms.task import Task
from fedgin.phantoms.thorax import BLOOD, draw_thorax, label_heart
from fedgin.phantoms.tissues import CT_PORTAL_VENOUS, MR_1_5_TESLA, Attenuation, Relaxation, Tissue

LabelIds = Mapping[str, int]


@dataclass(frozen=True)
class Region:
    """One part of the body.

    Attributes:
        draw: draws the anatomy of one body.
        label: turns tissue codes on a grid into labels with the given ids; organs without an id are 0.
        attenuation: draws how contrast agent fills one patient's vessels and returns the CT table of that moment.
        relaxation: draws one person's blood and returns the MR table.
        bright: the organs whose brightest one sets the scale of an MR image.
    """

    draw: Callable[[np.random.Generator], Anatomy]
    label: Callable[[NDArray[np.uint8], Grid, LabelIds], NDArray[np.uint8]]
    attenuation: Callable[[np.random.Generator], Mapping[Tissue, Attenuation]]
    relaxation: Callable[[np.random.Generator], Mapping[Tissue, Relaxation]]
    bright: tuple[Tissue, ...]


REGIONS: dict[Task, Region] = {
    Task.ABDOMEN: Region(
        draw_abdomen,
        label_abdomen,
        lambda _rng: CT_PORTAL_VENOUS,
        lambda _rng: MR_1_5_TESLA,
        (Tissue.LIVER, Tissue.SPLEEN, Tissue.RENAL_CORTEX),
    ),
    Task.HEART: Region(draw_thorax, label_heart, draw_ct_angiography, draw_cardiac_relaxation, BLOOD),
}
