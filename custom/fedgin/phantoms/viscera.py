"""The labelled organs, drawn one by one: liver, spleen, kidneys, gallbladder and pancreas."""

from dataclasses import dataclass

import numpy as np

from fedgin.phantoms.grid import FloatArray, Vector
from fedgin.phantoms.layers import Layer, fill, tube
from fedgin.phantoms.shapes import (
    Box,
    Capsule,
    Difference,
    Ellipsoid,
    HalfSpace,
    Intersection,
    Points,
    Union,
)
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import Habitus, right_dome

FILLING = frozenset({Tissue.VISCERAL_FAT, Tissue.GUT_WALL, Tissue.GUT_CONTENT, Tissue.GAS})
LIVER = frozenset({Tissue.LIVER, Tissue.HEPATIC_VESSEL})


def vary(rng: np.random.Generator, spread: float) -> float:
    """Draw a factor around 1 with the given standard deviation, cut at two standard deviations."""
    return 1.0 + spread * float(np.clip(rng.standard_normal(), -2, 2))


def shift(rng: np.random.Generator, place: Vector, spread_mm: float) -> Vector:
    """Move a place by a normal displacement of the given standard deviation, cut at two of them."""
    dx, dy, dz = spread_mm * np.clip(rng.standard_normal(3), -2, 2)
    return place[0] + float(dx), place[1] + float(dy), place[2] + float(dz)


def sized(rng: np.random.Generator, body: Habitus, radii: Vector, spread: float) -> Vector:
    """Scale radii by the body, by one common factor and by a smaller factor per axis."""
    common = body.scale * vary(rng, spread)
    a, b, c = (common * radius * vary(rng, spread / 2) for radius in radii)
    return a, b, c


def liver_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Right and left lobe joined, cut off below by the visceral surface and above by the diaphragm, with vessels."""
    right = Ellipsoid(shift(rng, body.at(84, 0, 60), 3), sized(rng, body, (68, 84, 84), 0.05), power=2.4)
    reach = 62 * vary(rng, 0.15)
    left = Ellipsoid(
        shift(rng, body.at(0, 44, 82), 4), sized(rng, body, (reach, 36, 32), 0.05), (0.0, float(rng.normal(-8, 5)), 0.0)
    )
    slope = float(rng.uniform(0.5, 0.7))
    visceral = HalfSpace(shift(rng, body.at(24, 0, 44), 3), (-slope, -0.22, -1.0))
    below_diaphragm = Intersection(Intersection(Union(right, left, 14.0), visceral, 10.0), right_or_left(body), 6.0)
    return [Layer(Tissue.LIVER, below_diaphragm, FILLING), *_liver_vessels(body, rng)]


def right_or_left(body: Habitus) -> Union:
    """Return the space under both domes of the diaphragm."""
    left = Ellipsoid(body.at(-50, 14, 14), body.at(84, 92, 100), power=2.5)
    return Union(right_dome(body), left, 20.0)


def _liver_vessels(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """Three hepatic veins from the vena cava and four portal branches from the porta, each forking once or twice."""
    confluence, porta = body.at(24, -8, 104), body.at(30, 12, 58)
    veins = [(118, 30, 78), (66, 66, 92), (-6, 58, 90)]
    portal = [(110, -18, 40), (118, 44, 52), (84, 66, 62), (-14, 56, 78)]
    capsules: list[Capsule] = []
    for root, ends, radius in ((confluence, veins, 5.0), (porta, portal, 5.5)):
        for end in ends:
            capsules += _branch(rng, root, shift(rng, body.at(*end), 8), radius)
    return fill(Tissue.HEPATIC_VESSEL, capsules, frozenset({Tissue.LIVER}))


def _branch(rng: np.random.Generator, root: Vector, end: Vector, radius: float) -> list[Capsule]:
    """Return a curved vessel that tapers from ``root`` to ``end`` with two side branches."""
    a, b = np.array(root), np.array(end)
    middle = shift(rng, tuple(0.5 * (a + b)), 6)
    capsules = tube([root, middle, end], [radius, 0.65 * radius, 1.4], step_mm=12)
    for start in (0.45, 0.7):
        origin = capsules[int(start * len(capsules))].end
        tip = shift(rng, tuple(np.array(origin) + 0.35 * (b - a)), 18)
        capsules += tube([origin, tip], [0.45 * radius, 1.2], step_mm=30)
    return capsules


def spleen_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """A tilted ellipsoid under the left ribs whose inner face is hollowed by the stomach."""
    centre = shift(rng, body.at(-99, -30, 62), 4)
    whole = Ellipsoid(centre, sized(rng, body, (31, 48, 54), 0.08), (0.0, 8.0, float(rng.normal(-32, 6))), 2.2)
    hollow = Ellipsoid(body.at(-50, -4, 64), body.at(34, 40, 60))
    return [Layer(Tissue.SPLEEN, Difference(whole, hollow), FILLING)]


@dataclass(frozen=True)
class Pyramids:
    """The medulla of a kidney: pieces of the shell between two levels of its ellipsoid, set apart by columns."""

    kidney: Ellipsoid
    tiers: float
    phase: float

    def distance(self, points: Points) -> FloatArray:
        """Return a level that is negative inside the pyramids, in shares of the kidney's thickness."""
        u, v, w = self.kidney.local(points)
        level = np.sqrt(u * u + v * v + w * w)
        shell = np.abs(level - np.float32(0.58)) - np.float32(0.2)
        around = np.cos(4 * np.arctan2(v, u) + np.float32(self.phase))
        along = np.cos(np.float32(np.pi * self.tiers) * w - np.float32(self.phase))
        return np.maximum(shell, np.float32(-0.1) - np.float32(0.2) * (around + along))

    def bounds(self) -> Box:
        """Return the box of the kidney."""
        return self.kidney.bounds()


def kidney_layers(body: Habitus, rng: np.random.Generator, side: float) -> list[Layer]:
    """One kidney beside the psoas, upper pole leaning in and back, hilum facing in and forward (side 1 is right)."""
    # The liver pushes the right kidney lower.
    place = body.at(side * 70, -34, -4 if side > 0 else 4)
    tilt = (float(rng.normal(10, 3)), -side * float(rng.normal(14, 3)), -side * float(rng.normal(35, 6)))
    kidney = Ellipsoid(shift(rng, place, 5), sized(rng, body, (27, 30, 52), 0.05), tilt, 2.2)
    inward = -side
    rx, ry, rz = kidney.radii
    sinus = Ellipsoid(kidney.point((0.62 * inward, 0.0, 0.0)), (0.62 * rx, 0.36 * ry, 0.48 * rz), tilt)
    over = FILLING | LIVER | {Tissue.SPLEEN, Tissue.MUSCLE}
    pyramids = Pyramids(kidney, float(rng.uniform(2.2, 3.2)), float(rng.uniform(0, 6.28)))
    return [
        Layer(Tissue.RENAL_CORTEX, kidney, over),
        Layer(Tissue.RENAL_MEDULLA, pyramids, frozenset({Tissue.RENAL_CORTEX})),
        Layer(Tissue.RENAL_SINUS, sinus, frozenset({Tissue.RENAL_CORTEX, Tissue.RENAL_MEDULLA})),
        *_renal_vein(body, kidney, side),
    ]


def _renal_vein(body: Habitus, kidney: Ellipsoid, side: float) -> list[Layer]:
    hilum = kidney.point((-0.55 * side, 0.0, 0.0))
    middle = body.at(38, -12, 2) if side > 0 else body.at(-34, -2, 8)
    end = body.at(22, -2, 6) if side > 0 else body.at(14, 12, 10)
    over = FILLING | {Tissue.RENAL_SINUS}
    return fill(Tissue.VEIN, tube([hilum, middle, end], [4.0, 4.5, 5.0]), over)


def gallbladder_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """A pear in its bed under the liver, the fundus pointing forward and down."""
    size = body.scale * vary(rng, 0.12)
    neck = shift(rng, body.at(48, 24, 28), 2)
    lean = 6.0 * np.clip(rng.standard_normal(2), -2, 2)
    fundus = (neck[0] + 20 * size + float(lean[0]), neck[1] + 32 * size, neck[2] - 15 * size + float(lean[1]))
    middle = (0.45 * neck[0] + 0.55 * fundus[0], 0.45 * neck[1] + 0.55 * fundus[1], 0.45 * neck[2] + 0.55 * fundus[2])
    pear = tube([neck, middle, fundus], [6.0 * size, 12.5 * size, 14.5 * size])
    return fill(Tissue.GALLBLADDER, pear, FILLING | LIVER)


def pancreas_layers(body: Habitus, rng: np.random.Generator) -> list[Layer]:
    """From the head in the duodenal loop on the right, over the spine, to the tail at the splenic hilum."""
    places = [(32, 12, 0), (34, 18, 14), (14, 28, 26), (-12, 32, 33), (-42, 18, 42), (-68, -6, 50)]
    radii = [13.5, 16.5, 10.0, 11.0, 11.5, 10.0]
    size = body.scale * vary(rng, 0.10)
    nodes = [shift(rng, body.at(*place), 2.5) for place in places]
    widths = [size * radius * vary(rng, 0.08) for radius in radii]
    return fill(Tissue.PANCREAS, _lobulated(rng, tube(nodes, widths, step_mm=6)), FILLING | LIVER)


def _lobulated(rng: np.random.Generator, chain: list[Capsule]) -> list[Capsule]:
    """Let the radius change from piece to piece, as the lobules of the pancreas make it."""
    swell = [vary(rng, 0.09) for _ in range(len(chain) + 1)]
    return [
        Capsule(piece.start, piece.end, piece.start_radius * swell[i], piece.end_radius * swell[i + 1])
        for i, piece in enumerate(chain)
    ]
