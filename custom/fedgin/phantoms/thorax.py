"""The thorax of a phantom body, from the domes of the diaphragm to the arch of the aorta, and the heart's labels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.anatomy import Anatomy, deformed, label_tissues
from fedgin.phantoms.great_vessels import great_vessel_layers
from fedgin.phantoms.grid import Grid
from fedgin.phantoms.heart import draw_heart, heart_layers
from fedgin.phantoms.layers import Layer, fill, tube
from fedgin.phantoms.shapes import Capsule, Column, Difference, Ellipsoid, Inset, Union
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import (
    INSIDE,
    SOFT,
    THORAX,
    Habitus,
    draw_habitus,
    erector_spinae,
    rib_layers,
    spine_layers,
    wall_layers,
)

BLOOD = (
    *(Tissue.LEFT_VENTRICLE, Tissue.RIGHT_VENTRICLE, Tissue.LEFT_ATRIUM, Tissue.RIGHT_ATRIUM),
    *(Tissue.AORTA, Tissue.PULMONARY_ARTERY),
)
_ORGANS = {
    **{tissue.name.lower(): (tissue,) for tissue in BLOOD},
    "myocardium": (Tissue.MYOCARDIUM,),
    "superior_vena_cava": (Tissue.SUPERIOR_VENA_CAVA,),
    "inferior_vena_cava": (Tissue.INFERIOR_VENA_CAVA,),
}


def draw_thorax(rng: np.random.Generator) -> Anatomy:
    """Draw the thorax of one body."""
    body = draw_habitus(rng)
    heart = draw_heart(body, rng)
    layers = [
        *_shell(body, rng),
        *_below_diaphragm(body, rng),
        *_oesophagus(body),
        *heart_layers(heart, rng),
        *great_vessel_layers(body, heart, rng),
        *_airways(body),
    ]
    return deformed(body, layers, rng)


def label_heart(tissues: NDArray[np.uint8], _grid: Grid, label_ids: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label volume of the same shape in which each organ of ``label_ids`` has its id and the rest is 0.

    Ventricles and atria are their blood; the myocardium is that of the left ventricle. Pulmonary veins and the branches
    of vessels in the lungs are no organ.
    """
    return label_tissues(tissues, _ORGANS, label_ids)


def _shell(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Return wall, lungs, muscles, ribs, breast bone and spine."""
    half_width, half_depth = 126 * body.scale + body.visceral_fat, 92 * body.scale + 0.5 * body.visceral_fat
    cavity = Column((0.0, 12.0 * body.scale), (half_width, half_depth), 2.3)
    bulk = float(rng.uniform(0.88, 1.12))
    back = fill(Tissue.MUSCLE, [erector_spinae(body, side, bulk) for side in (-1.0, 1.0)], SOFT)
    front = cavity.centre[1] + half_depth
    sternum = Ellipsoid((0.0, front + 6.0, 60.0), (19.0, 6.5, 95.0), power=3.0)
    return [
        *wall_layers(body, cavity),
        *back,
        *_lungs(body, cavity),
        *rib_layers(cavity, [125.0] * 9, -70.0 + float(rng.uniform(0, 30))),
        Layer(Tissue.CORTICAL_BONE, sternum, SOFT),
        Layer(Tissue.MARROW, Inset(sternum, 1.5), frozenset({Tissue.CORTICAL_BONE})),
        *spine_layers(body, rng),
    ]


def _lungs(body: Habitus, cavity: Column) -> list[Layer]:
    """Both lungs fill the cavity but for the mediastinum, which is wide at the great vessels and thin in front."""
    middle = Column((0.0, 20 * body.scale), (11 * body.scale, 100 * body.scale), 2.0)
    behind = Column((-2 * body.scale, -16 * body.scale), (34 * body.scale, 24 * body.scale), 2.4)
    vessels = Ellipsoid(body.at(4, 18, 88), body.at(42, 36, 62), power=2.4)
    mediastinum = Union(Union(middle, behind, 10.0), vessels, 14.0)
    return [Layer(Tissue.LUNG, Difference(Inset(cavity, 2.0), mediastinum), INSIDE)]


def _below_diaphragm(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """The liver under the right dome and below the heart; fat, stomach and gas under the left dome."""
    breath = float(rng.uniform(-10, 4))
    right = Ellipsoid(body.at(56, 2, -92 + breath), body.at(82, 88, 92), power=2.4)
    lobe = Ellipsoid(body.at(-4, 36, -86 + breath), body.at(66, 50, 46))
    left = Ellipsoid(body.at(-62, 2, -104 + breath), body.at(72, 84, 84), power=2.4)
    stomach = Ellipsoid(body.at(-62, 8, -92 + breath), body.at(40, 46, 58))
    gas = Ellipsoid(body.at(-62, 34, -76 + breath), body.at(26, 16, 26))
    return [
        Layer(Tissue.VISCERAL_FAT, left, THORAX),
        Layer(Tissue.LIVER, Union(right, lobe, 20.0), THORAX),
        Layer(Tissue.GUT_WALL, stomach, INSIDE),
        Layer(Tissue.GUT_CONTENT, Inset(stomach, 4.0), frozenset({Tissue.GUT_WALL})),
        Layer(Tissue.GAS, gas, frozenset({Tissue.GUT_CONTENT})),
    ]


def _oesophagus(body: Habitus) -> list[Layer]:
    chain = tube([body.at(-2, -8, 140), body.at(-8, -10, 50), body.at(-14, -6, -75)], [6.0, 6.0, 7.0])
    return fill(Tissue.GUT_WALL, chain, INSIDE)


def _airways(body: Habitus) -> list[Layer]:
    """The trachea and both main bronchi, which yield to every vessel."""
    carina = body.at(6, -3, 88)
    pipes = [
        Capsule(body.at(6, 2, 145), carina, 8.5, 8.5),
        Capsule(carina, body.at(44, -8, 64), 7.5, 6.0),
        Capsule(carina, body.at(-48, -8, 62), 6.5, 5.5),
    ]
    over = THORAX | {Tissue.GUT_WALL}
    return [*fill(Tissue.GUT_WALL, [Inset(pipe, -1.5) for pipe in pipes], THORAX), *fill(Tissue.GAS, pipes, over)]
