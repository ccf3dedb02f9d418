"""The trunk around the organs: habitus, body wall, spine, muscles and ribs, and the lung bases of an abdomen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fedgin.phantoms.grid import Vector
from fedgin.phantoms.layers import Layer
from fedgin.phantoms.shapes import (
    Capsule,
    Column,
    Difference,
    Ellipsoid,
    HalfSpace,
    Inset,
    Intersection,
    Shape,
    Union,
)
from fedgin.phantoms.tissues import Tissue

INSIDE = frozenset({Tissue.VISCERAL_FAT})
SOFT = frozenset({Tissue.VISCERAL_FAT, Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT})
THORAX = frozenset({Tissue.VISCERAL_FAT, Tissue.LUNG})


@dataclass(frozen=True)
class Habitus:
    """Size and fatness of one body, in millimetres; ``scale`` multiplies every length of the inner anatomy."""

    scale: float
    visceral_fat: float
    muscle: float
    subcutaneous_fat: float

    def at(self, x: float, y: float, z: float) -> Vector:
        """Return a place of the average body in this body."""
        return x * self.scale, y * self.scale, z * self.scale

    def cavity(self) -> Column:
        """Return the wall-less abdominal and thoracic cavity; visceral fat mostly bulges to the front."""
        half_width, half_depth = 126 * self.scale + self.visceral_fat, 85 * self.scale + self.visceral_fat
        return Column((0.0, 6.0 + 0.7 * self.visceral_fat), (half_width, half_depth), 2.3)


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """Draw a body; the ranges are those of adults whose trunk fits a 360 x 300 mm field of view."""
    return Habitus(
        scale=float(rng.uniform(0.92, 1.06)),
        visceral_fat=float(rng.uniform(0, 9)),
        muscle=float(rng.uniform(9, 14)),
        subcutaneous_fat=float(rng.uniform(6, 21)),
    )


def trunk_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Return the layers from the skin inwards to the spine; the organs are painted over their visceral fat."""
    cavity = body.cavity()
    # Ribs 6 to 12; the lower ones end further back.
    sweeps = [95.0 + 14.0 * number for number in range(7)]
    return [
        *wall_layers(body, cavity),
        *_lungs(body, rng),
        *_muscles(body, rng),
        *rib_layers(cavity, sweeps, -25.0 + float(rng.uniform(0, 30))),
        *spine_layers(body, rng),
    ]


def _grown(column: Column, side: float, front: float) -> Column:
    return Column(column.centre, (column.radii[0] + side, column.radii[1] + front), column.power)


def wall_layers(body: Habitus, cavity: Column) -> list[Layer]:
    """Return skin, fat and muscle around a cavity that visceral fat fills."""
    # Abdominal fat is thinner in front of the muscles than on the flanks.
    fat = _grown(cavity, body.muscle + body.subcutaneous_fat, 0.8 * body.muscle + 0.75 * body.subcutaneous_fat)
    skin = _grown(fat, 2.5, 2.5)
    muscle = _grown(cavity, body.muscle, 0.8 * body.muscle)
    rings: list[tuple[Tissue, Shape, Tissue]] = [
        (Tissue.SKIN, skin, Tissue.AIR),
        (Tissue.SUBCUTANEOUS_FAT, fat, Tissue.SKIN),
        (Tissue.MUSCLE, muscle, Tissue.SUBCUTANEOUS_FAT),
        (Tissue.VISCERAL_FAT, cavity, Tissue.MUSCLE),
    ]
    return [Layer(tissue, shape, frozenset({under})) for tissue, shape, under in rings]


def right_dome(body: Habitus) -> Ellipsoid:
    """Return the space below the right half of the diaphragm, which bounds the liver."""
    return Ellipsoid(body.at(58, 4, 20), body.at(86, 92, 108), power=2.5)


def _lungs(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    breath = float(rng.uniform(-6, 6))
    left = Ellipsoid(body.at(-62, 8, 14), body.at(80, 90, 104 + breath), power=2.5)
    # The recess of the pleura reaches lower behind than in front.
    upper = Intersection(body.cavity(), HalfSpace(body.at(0, 0, 72), (0.0, 0.35, -1.0)))
    mediastinum = Column((-6 * body.scale, 8 * body.scale), (28 * body.scale, 84 * body.scale), 2.0)
    lung = Difference(Difference(upper, Union(right_dome(body), left, 30.0)), mediastinum)
    heart = Ellipsoid(body.at(-28, 44, 168), body.at(58, 46, 52), (0.0, 25.0, 0.0))
    return [Layer(Tissue.LUNG, lung, INSIDE), Layer(Tissue.HEART, heart, THORAX)]


def _muscles(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    bulk = float(rng.uniform(0.88, 1.12))
    layers = []
    for side in (-1.0, 1.0):
        erector = erector_spinae(body, side, bulk)
        lumbar = Ellipsoid(body.at(side * 62, -58, -60), (20 * bulk, 10 * bulk, 75.0))
        psoas = Capsule(body.at(side * 30, -26, 35), body.at(side * 50, -30, -120), 7 * bulk, 27 * bulk)
        layers += [Layer(Tissue.MUSCLE, shape, SOFT) for shape in (erector, lumbar, psoas)]
        crus = Capsule(body.at(side * 17, -16, 110), body.at(side * 13, -12, 0), 6.0, 4.0)
        layers.append(Layer(Tissue.MUSCLE, crus, INSIDE))
    return layers


def erector_spinae(body: Habitus, side: float, bulk: float) -> Ellipsoid:
    """Return the muscle beside the spinous processes; ``bulk`` scales its thickness (side 1 is right)."""
    return Ellipsoid(body.at(side * 31, -76, 30), (27 * bulk, 23 * bulk, 400.0), power=2.4)


def rib_layers(cavity: Column, sweeps_degrees: Sequence[float], lowest_mm: float) -> list[Layer]:
    """Return ribs inside the muscle wall, sloping down to the front.

    Args:
        cavity: what they go around.
        sweeps_degrees: how far each goes around it from the spine, from the lowest rib.
        lowest_mm: height of the lowest rib at the spine; the next ones are 30 mm apart.
    """
    wall = frozenset({Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT})
    layers: list[Layer] = []
    for side in (-1.0, 1.0):
        for number, sweep in enumerate(sweeps_degrees):
            rib = _rib(cavity, side, lowest_mm + 30.0 * number, sweep)
            layers += [Layer(Tissue.CORTICAL_BONE, piece, wall) for piece in rib]
            layers += [Layer(Tissue.MARROW, Inset(piece, 2.5), frozenset({Tissue.CORTICAL_BONE})) for piece in rib]
    return layers


def _rib(cavity: Column, side: float, back_z: float, sweep_degrees: float) -> list[Capsule]:
    """Return one rib from beside the spine, swept around the cavity by the given angle."""
    angle = np.radians(np.arange(20.0, sweep_degrees, 12.0))
    (x0, y0), (a, b), p = cavity.centre, cavity.radii, cavity.power
    radius = 1 / ((np.abs(np.sin(angle)) / (a + 5)) ** p + (np.abs(np.cos(angle)) / (b + 5)) ** p) ** (1 / p)
    x, y = x0 + side * radius * np.sin(angle), y0 - radius * np.cos(angle)
    z = back_z - 42.0 * (1 - np.cos(angle)) * 0.7
    nodes = [(float(u), float(v), float(w)) for u, v, w in zip(x, y, z, strict=True)]
    return [Capsule(start, end, 4.6, 4.6) for start, end in pairwise(nodes)]


def spine_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Vertebral bodies with cortex and marrow, discs between them, the canal and the processes behind it."""
    s, pitch = body.scale, 35.0 * body.scale
    column = Column((0.0, -30 * s), (21 * s, 15.5 * s), 2.3)
    everything = frozenset(Tissue) - {Tissue.AIR, Tissue.SKIN}
    layers = [Layer(Tissue.DISC, column, everything)]
    bone: list[Shape] = []
    first = -120.0 + float(rng.uniform(0, pitch))
    for z in np.arange(first, 190.0, pitch):
        bone.append(Ellipsoid((0.0, -30 * s, float(z)), (22.5 * s, 17 * s, 14.5 * s), power=4.0))
        bone.append(Ellipsoid((0.0, -77 * s, float(z) - 10), (4.0, 17.0, 13.0), (12.0, 0.0, 0.0), 3.0))
        bone += [Capsule((0.0, -56 * s, float(z)), (side * 38 * s, -58 * s, float(z)), 6.0, 4.5) for side in (-1, 1)]
    arch = Column((0.0, -53 * s), (15 * s, 13 * s), 2.2)
    bone.append(arch)
    layers += [Layer(Tissue.CORTICAL_BONE, shape, everything) for shape in bone]
    layers += [Layer(Tissue.MARROW, Inset(shape, 2.2), frozenset({Tissue.CORTICAL_BONE})) for shape in bone]
    canal = Column((0.0, -52 * s), (10 * s, 8.5 * s), 2.0)
    return [*layers, Layer(Tissue.SPINAL_CANAL, canal, everything)]
