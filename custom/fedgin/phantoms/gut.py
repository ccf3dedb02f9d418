"""What surrounds the labelled organs and is not labelled: stomach, duodenum, bowel and the great vessels."""

import numpy as np

from fedgin.phantoms.layers import Layer, fill, hollow, tube
from fedgin.phantoms.shapes import Capsule, HalfSpace, Inset, Intersection
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import INSIDE, Habitus
from fedgin.phantoms.viscera import FILLING, shift, vary

CONTENT = frozenset({Tissue.GUT_CONTENT})


def bowel_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Small bowel first, then the colon that frames it."""
    return [*_small_bowel(body, rng), *_colon(body, rng)]


def _small_bowel(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Tangles of loops lie at random through the middle of the belly below the stomach."""
    layers: list[Layer] = []
    for _ in range(11):
        middle = (rng.uniform(-75, 55), rng.uniform(25, 65), rng.uniform(-80, -10))
        nodes = [shift(rng, body.at(*middle), 22) for _ in range(6)]
        radius = float(rng.uniform(10, 15))
        # Some loops are full and some nearly collapsed.
        wall = float(rng.uniform(2.5, 0.8 * radius))
        layers += hollow(tube(nodes, [radius] * len(nodes), step_mm=12), wall, INSIDE)
    return layers


def _colon(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    right, left = [(106, -8, -75), (108, 0, -30), (100, 14, -26)], [(-104, 8, 42), (-110, -14, 10), (-108, -22, -70)]
    middle = [(58, 64, -36), (4, 76, -36), (-52, 72, -8), (-92, 40, 30)]
    nodes = [shift(rng, body.at(*place), 5) for place in [*right, *middle, *left]]
    chain = _haustra(tube(nodes, [float(rng.uniform(15, 22)) for _ in nodes], step_mm=8))
    layers = hollow(chain, 2.5, INSIDE | {Tissue.GUT_WALL, Tissue.GUT_CONTENT})
    # Gas collects at the front of each part, because the patient lies on the back.
    levels = np.interp(np.linspace(0, 1, len(chain)), np.linspace(0, 1, 7), rng.uniform(-8, 14, 7))
    gas = [_gas(piece, float(level)) for piece, level in zip(chain, levels, strict=True)]
    return [*layers, *fill(Tissue.GAS, gas, CONTENT)]


def _haustra(chain: list[Capsule]) -> list[Capsule]:
    wave = [1.0 + 0.18 * np.sin(2.1 * i) for i in range(len(chain) + 1)]
    return [
        Capsule(piece.start, piece.end, float(piece.start_radius * wave[i]), float(piece.end_radius * wave[i + 1]))
        for i, piece in enumerate(chain)
    ]


def _gas(piece: Capsule, level_mm: float) -> Intersection:
    surface = (0.0, piece.start[1] + level_mm, 0.0)
    return Intersection(Inset(piece, 2.5), HalfSpace(surface, (0.0, -1.0, 0.0)))


def stomach_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Fundus under the left dome, body to the front, antrum across the midline; the duodenum around the pancreas."""
    fullness = float(rng.uniform(0.75, 1.1))
    places = [(-16, -6, 112), (-58, 0, 98), (-66, 26, 72), (-44, 54, 44), (-6, 60, 28), (26, 46, 34)]
    radii = [9.0, 33.0, 34.0, 28.0, 21.0, 11.0]
    chain = tube(
        [shift(rng, body.at(*p), 4) for p in places], [9.0, *(fullness * r * vary(rng, 0.06) for r in radii[1:])]
    )
    level = float(rng.uniform(24, 48))
    air = [Intersection(Inset(piece, 4.0), HalfSpace((0.0, level, 0.0), (0.0, -1.0, 0.0))) for piece in chain]
    duodenum = [(28, 44, 34), (54, 26, 30), (56, 12, 2), (36, 2, -26), (-6, 6, -24), (-30, 22, -8)]
    loop = tube([shift(rng, body.at(*p), 3) for p in duodenum], [11.0, 11.0, 12.0, 11.0, 10.0, 10.0])
    return [*hollow(chain, 4.0, FILLING), *fill(Tissue.GAS, air, CONTENT), *hollow(loop, 2.5, FILLING)]


def vessel_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Aorta left of the midline, vena cava right of it, the portal vein with its splenic and mesenteric roots."""
    size = body.scale * vary(rng, 0.08)
    descending = [body.at(-12, -8, -90), body.at(-12, -8, 0), body.at(-12, -8, 90), body.at(-18, -22, 160)]
    aorta = tube(descending, [9 * size, 9 * size, 11 * size, 11 * size])
    caval = [body.at(18, -4, -90), body.at(20, -4, 10), body.at(24, -4, 104), body.at(16, 12, 160)]
    cava = tube(caval, [10 * size] * 4)
    splenic = [body.at(-66, -12, 50), body.at(-20, 12, 38), body.at(12, 18, 30), body.at(30, 12, 58)]
    portal = tube(splenic, [4.0, 5.0, 6.0, 6.5])
    mesenteric = tube([body.at(12, 18, 30), body.at(8, 22, 0), body.at(4, 28, -80)], [5.5, 5.0, 4.0])
    artery = tube([body.at(-11, 4, 30), body.at(-8, 16, 4), body.at(-10, 24, -80)], [3.5, 3.5, 3.0])
    over = FILLING | {Tissue.PANCREAS, Tissue.MUSCLE}
    deep = over | {Tissue.LIVER, Tissue.HEPATIC_VESSEL, Tissue.LUNG, Tissue.HEART, Tissue.VEIN}
    return [
        *fill(Tissue.VEIN, [*portal, *mesenteric], over),
        *fill(Tissue.AORTA, artery, over),
        *fill(Tissue.VEIN, cava, deep),
        *fill(Tissue.AORTA, aorta, deep),
    ]
