"""The heart: four chambers, the muscle of the left ventricle and thinner walls, at one moment of its beat.

Places are those of an average adult, in the coordinates of :mod:`grid`. The long axis runs from the valves to the apex,
to the left, forward and down; the septal axis from the left to the right ventricle, to the right and forward.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fedgin.phantoms.grid import Vector
from fedgin.phantoms.layers import Layer
from fedgin.phantoms.shapes import (
    Capsule,
    Difference,
    Ellipsoid,
    HalfSpace,
    Inset,
    Intersection,
    Shape,
    Union,
)
from fedgin.phantoms.tissues import Tissue
from fedgin.phantoms.trunk import Habitus
from fedgin.phantoms.viscera import vary

PIVOT = (-20.0, 26.0, 22.0)
VENTRICLES = (-46.0, 34.0, 5.0)
LONG_AXIS = (-0.72, 0.42, -0.55)
SEPTAL_AXIS = (0.55, 0.83, -0.08)
SURROUNDINGS = frozenset(
    {Tissue.VISCERAL_FAT, Tissue.LUNG, Tissue.LIVER, Tissue.GUT_WALL, Tissue.GUT_CONTENT, Tissue.GAS}
)
WALL = frozenset({Tissue.HEART_WALL})


@dataclass(frozen=True)
class Heart:
    """How one heart lies and beats.

    ``scale`` multiplies its lengths, ``turn`` rotates it about ``PIVOT`` (degrees about x, y and z), and ``systole``
    goes from 0, the end of filling, to 1, the end of ejection.
    """

    scale: float
    turn: Vector
    systole: float

    def at(self, x: float, y: float, z: float) -> Vector:
        """Return a place of the average heart in this heart."""
        offset = self.scale * (np.array([x, y, z]) - PIVOT)
        x, y, z = Rotation.from_euler("xyz", self.turn, degrees=True).apply(offset) + PIVOT
        return float(x), float(y), float(z)

    def axes(self) -> NDArray[np.float64]:
        """Return three orthogonal unit vectors as columns: towards the septum, across, and towards the apex."""
        long = np.array(LONG_AXIS) / np.linalg.norm(LONG_AXIS)
        septal = np.array(SEPTAL_AXIS) - long * (long @ SEPTAL_AXIS)
        septal /= np.linalg.norm(septal)
        frame = np.stack([septal, np.cross(long, septal), long], axis=1)
        turned: NDArray[np.float64] = Rotation.from_euler("xyz", self.turn, degrees=True).as_matrix() @ frame
        return turned

    def ventricle(self, septal: float, across: float, apex: float) -> Vector:
        """Return the place that lies so many millimetres from the middle of the left ventricle along the axes."""
        x, y, z = np.array(self.at(*VENTRICLES)) + self.scale * (self.axes() @ np.array([septal, across, apex]))
        return float(x), float(y), float(z)

    def ellipsoid(self, centre: Vector, radii: Vector, power: float = 2.0) -> Ellipsoid:
        """Return an ellipsoid along the axes of the heart; ``centre`` is where it lies in the patient."""
        angles = Rotation.from_matrix(self.axes()).as_euler("xyz", degrees=True)
        a, b, c = (self.scale * radius for radius in radii)
        return Ellipsoid(centre, (a, b, c), (float(angles[0]), float(angles[1]), float(angles[2])), power)

    def chamber(self, place: Vector, radii: Vector) -> Ellipsoid:
        """Return an upright ellipsoid around a place of the average heart."""
        a, b, c = (self.scale * radius for radius in radii)
        return Ellipsoid(self.at(*place), (a, b, c), self.turn, 2.3)

    def tunnel(self, start: Vector, end: Vector, radii: tuple[float, float]) -> Capsule:
        """Return a round cone between two places in the patient."""
        return Capsule(start, end, self.scale * radii[0], self.scale * radii[1])


def draw_heart(body: Habitus, rng: np.random.Generator) -> Heart:
    """Draw a heart for a body: its size, how steep it lies and the moment of its beat."""
    pitch, roll, yaw = 7.0 * np.clip(rng.standard_normal(3), -2, 2)
    scale = body.scale * vary(rng, 0.05)
    return Heart(scale, (float(pitch), float(roll), float(yaw)), float(rng.uniform(0, 1)))


def heart_layers(heart: Heart, rng: np.random.Generator) -> list[Layer]:
    """Return walls and chambers over the fat around them; atria first, since the ventricles' valves reach into them."""
    left, right = _atria(heart, rng)
    epicardium, cavity = _left_ventricle(heart, rng)
    body, outflow = _right_ventricle(heart, epicardium, rng)
    wall = 3.0 * heart.scale
    thin: list[Shape] = [_grown(shape, wall) for shape in (left, right, body, outflow)]
    atria = frozenset({Tissue.LEFT_ATRIUM, Tissue.RIGHT_ATRIUM})
    return [
        Layer(Tissue.VISCERAL_FAT, heart.ellipsoid(heart.at(-26, 38, 12), (54, 52, 74), 2.4), SURROUNDINGS),
        *(Layer(Tissue.HEART_WALL, shape, SURROUNDINGS) for shape in thin),
        Layer(Tissue.RIGHT_ATRIUM, right, WALL),
        Layer(Tissue.LEFT_ATRIUM, left, WALL),
        Layer(Tissue.RIGHT_VENTRICLE, body, WALL | {Tissue.RIGHT_ATRIUM}),
        Layer(Tissue.RIGHT_VENTRICLE, outflow, WALL),
        Layer(Tissue.MYOCARDIUM, epicardium, SURROUNDINGS | WALL | atria | {Tissue.RIGHT_VENTRICLE}),
        Layer(Tissue.LEFT_VENTRICLE, cavity, WALL | atria | {Tissue.MYOCARDIUM}),
    ]


def _atria(heart: Heart, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """Return the left atrium behind the ventricles, and the right one beside it, each with the way to its valve."""
    # Atria fill while the ventricles eject.
    fill = 0.88 + 0.2 * heart.systole
    a, b = fill * vary(rng, 0.05), fill * vary(rng, 0.05)
    vestibule = heart.tunnel(heart.at(-6, 13, 44), heart.ventricle(0, 0, _base_mm(heart) - 3), (18 * a, 17.0))
    left = Union(heart.chamber((-6, 12, 46), (32 * a, 19 * a, 24 * a)), vestibule, 6.0)
    appendage = heart.tunnel(heart.at(22, 42, 34), heart.at(14, 58, 50), (16 * b, 9 * b))
    inlet = heart.tunnel(heart.at(24, 38, 16), heart.ventricle(31, 8, _base_mm(heart) + 2), (19 * b, 16.0))
    right = Union(Union(heart.chamber((27, 36, 20), (24 * b, 26 * b, 32 * b)), appendage, 6.0), inlet, 6.0)
    return left, Difference(right, _grown(left, 2.5))


def _left_ventricle(heart: Heart, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """Return the ventricle with its muscle, and its cavity with the outflow tract: ellipsoids cut off at the valves."""
    radius = (25 - 8 * heart.systole) * vary(rng, 0.05)
    muscle = (9.5 + 4.5 * heart.systole) * vary(rng, 0.08)
    length = 50 - 3 * heart.systole
    base = HalfSpace(heart.ventricle(0, 0, _base_mm(heart)), _upwards(heart))
    centre = heart.ventricle(0, 0, 0)
    epicardium = heart.ellipsoid(centre, (radius + muscle, radius + muscle, length + 0.8 * muscle))
    cavity = Intersection(heart.ellipsoid(centre, (radius, radius, length)), base)
    outflow = heart.tunnel(heart.ventricle(6, 0, -18), heart.at(-10, 32, 34), (0.42 * radius, 11.0))
    return Intersection(epicardium, base, 4.0), Union(cavity, outflow, 3.0)


def _right_ventricle(heart: Heart, epicardium: Shape, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """Return the body, which wraps around the septum, and the outflow tract, which climbs to the pulmonary valve."""
    s, size = heart.systole, vary(rng, 0.03)
    radii = (35 * (1 - 0.28 * s) * size, 40 * (1 - 0.16 * s) * size, 47 * (1 - 0.1 * s) * size)
    base = HalfSpace(heart.ventricle(0, 0, _base_mm(heart)), _upwards(heart))
    whole = Intersection(heart.ellipsoid(heart.ventricle(28 - 3 * s, 0, 2), radii), base, 4.0)
    conus = heart.tunnel(heart.ventricle(27, -14, -12), heart.at(-27, 60, 49), (19 - 3 * s, 13.0))
    return Difference(whole, epicardium), Difference(conus, epicardium)


def _base_mm(heart: Heart) -> float:
    """Return where the valves lie on the long axis; in systole they move towards the apex."""
    return -35.0 + 11.0 * heart.systole


def _upwards(heart: Heart) -> Vector:
    x, y, z = -heart.axes()[:, 2]
    return float(x), float(y), float(z)


def _grown(shape: Shape, wall_mm: float) -> Inset:
    return Inset(shape, -wall_mm)
