"""The vessels that enter and leave the heart, and their branches in the lungs."""

import numpy as np

from fedgin.phantoms.heart import SURROUNDINGS, WALL, Heart
from fedgin.phantoms.layers import Layer, fill, tube
from fedgin.phantoms.shapes import Capsule
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import Habitus
from fedgin.phantoms.viscera import shift, vary

AROUND = SURROUNDINGS | WALL
HILA = ((56.0, 2.0, 62.0), (-60.0, 0.0, 66.0))


def great_vessel_layers(body: Habitus, heart: Heart, rng: np.random.Generator) -> list[Layer]:
    """Return veins first, then the pulmonary artery, then the aorta, which is in front where they cross."""
    size = heart.scale * vary(rng, 0.06)
    return [
        *_lung_branches(body, rng),
        *_pulmonary_veins(body, heart, size),
        *_venae_cavae(body, heart, size),
        *_pulmonary_artery(body, heart, size),
        *_aorta(body, heart, size),
    ]


def _aorta(body: Habitus, heart: Heart, size: float) -> list[Layer]:
    """From the valve up and to the right, over the left main bronchus, and down beside the spine."""
    places = [heart.at(-9, 33, 38), heart.at(-1, 36, 50), body.at(16, 34, 78), body.at(6, 22, 110)]
    places += [body.at(-14, 2, 114), body.at(-27, -17, 90), body.at(-27, -19, 40), body.at(-20, -17, -75)]
    radii = [14.0, 16.5, 15.0, 13.5, 12.5, 12.0, 11.5, 10.5]
    chambers = {
        Tissue.LEFT_VENTRICLE,
        Tissue.LEFT_ATRIUM,
        Tissue.RIGHT_ATRIUM,
        Tissue.RIGHT_VENTRICLE,
        Tissue.PULMONARY_ARTERY,
    }
    over = AROUND | chambers | {Tissue.PULMONARY_VEIN, Tissue.SUPERIOR_VENA_CAVA, Tissue.MUSCLE}
    return fill(Tissue.AORTA, tube(places, [size * radius for radius in radii], step_mm=6), over)


def _pulmonary_artery(body: Habitus, heart: Heart, size: float) -> list[Layer]:
    """The trunk climbs left of the aorta; its right branch passes behind it, its left one over the left bronchus."""
    fork = body.at(-16, 26, 83)
    trunk = [heart.at(-27, 57, 57), heart.at(-25, 49, 69), fork, body.at(-40, 4, 87), body.at(-61, -6, 80)]
    right = [fork, body.at(8, 14, 81), body.at(34, 11, 76), body.at(57, 4, 66)]
    chain = tube(trunk, [size * radius for radius in (13.0, 14.0, 12.0, 9.0, 7.0)], step_mm=6)
    chain += tube(right, [size * radius for radius in (11.0, 10.0, 9.0, 7.0)], step_mm=6)
    return fill(Tissue.PULMONARY_ARTERY, chain, AROUND | {Tissue.PULMONARY_VEIN, Tissue.RIGHT_VENTRICLE})


def _venae_cavae(body: Habitus, heart: Heart, size: float) -> list[Layer]:
    upper = tube([body.at(32, 22, 140), body.at(34, 26, 92), heart.at(31, 34, 46)], [8 * size, 9 * size, 10 * size])
    lower = tube([body.at(24, 2, -75), body.at(25, 12, -22), heart.at(27, 30, 2)], [11 * size, 11 * size, 12 * size])
    return [*fill(Tissue.SUPERIOR_VENA_CAVA, upper, AROUND), *fill(Tissue.INFERIOR_VENA_CAVA, lower, AROUND)]


def _pulmonary_veins(body: Habitus, heart: Heart, size: float) -> list[Layer]:
    """Two from each lung into the corners of the left atrium."""
    pairs = [
        (heart.at(18, 8, 56), body.at(54, 2, 64)),
        (heart.at(16, 4, 40), body.at(54, -14, 34)),
        (heart.at(-30, 10, 58), body.at(-60, 10, 70)),
        (heart.at(-30, 4, 42), body.at(-60, -14, 38)),
    ]
    ends = [Capsule(start, end, 7.5 * size, 5.0 * size) for start, end in pairs]
    return fill(Tissue.PULMONARY_VEIN, ends, AROUND)


def _lung_branches(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Arteries and veins run together from the hila outwards; none of them is labelled."""
    chain: list[Capsule] = []
    for (x, y, z), side in zip(HILA, (1.0, -1.0), strict=True):
        for degrees in np.linspace(-80, 80, 9):
            angle = np.radians(degrees + rng.uniform(-10, 10))
            reach = body.at(x + side * rng.uniform(20, 45), y + rng.uniform(-45, 45), z + 75 * float(np.sin(angle)))
            middle = shift(rng, body.at(x + side * 14, 0.5 * (y + reach[1]), 0.5 * (z + reach[2])), 5)
            chain += tube([body.at(x, y, z), middle, reach], [4.5, 3.0, 1.3])
            for _ in range(4):
                chain += tube([middle, shift(rng, reach, 18)], [2.4, 1.2], step_mm=30)
    return fill(Tissue.PULMONARY_VEIN, chain, frozenset({Tissue.LUNG}))
