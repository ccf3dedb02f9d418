"""Implicit solids that the phantom anatomy is built from.

Each shape gives an approximate signed distance in millimetres, negative inside, at arrays of patient coordinates. The
distance is exact for spheres and capsules and only proportional elsewhere, which is all that blending needs.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from fedgin.phantoms.grid import FloatArray, Vector

Points = tuple[FloatArray, FloatArray, FloatArray]
Box = tuple[Vector, Vector]
EVERYWHERE: Box = ((-1e4, -1e4, -1e4), (1e4, 1e4, 1e4))


class Shape(Protocol):
    """What the painter needs of a solid."""

    def distance(self, points: Points) -> FloatArray:
        """Return the signed distance in millimetres at points (x, y, z), three arrays of one shape."""
        ...

    def bounds(self) -> Box:
        """Return a box (low corner, high corner) in millimetres that contains the solid."""
        ...


@dataclass(frozen=True)
class Column:
    """A superelliptic cylinder along z: centre (x, y), half axes in millimetres, and the exponent."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    power: float

    def distance(self, points: Points) -> FloatArray:
        """Return the signed distance, scaled by the smaller half axis."""
        u = np.abs((points[0] - self.centre[0]) / self.radii[0]) ** self.power
        v = np.abs((points[1] - self.centre[1]) / self.radii[1]) ** self.power
        return ((u + v) ** (1 / self.power) - 1) * min(self.radii)

    def bounds(self) -> Box:
        """Return a box without limits along z."""
        (x, y), (a, b) = self.centre, self.radii
        return (x - a, y - b, -1e4), (x + a, y + b, 1e4)


@dataclass(frozen=True)
class Ellipsoid:
    """A superellipsoid turned by ``angles`` (degrees about fixed x, then y, then z)."""

    centre: Vector
    radii: Vector
    angles: Vector = (0.0, 0.0, 0.0)
    power: float = 2.0

    def local(self, points: Points) -> Points:
        """Return the coordinates along the body's own axes, in units of the half axes."""
        # float32 throughout: a float64 matrix would double the memory traffic of every shape.
        turn = Rotation.from_euler("xyz", self.angles, degrees=True).as_matrix().astype(np.float32)
        dx, dy, dz = (p - np.float32(c) for p, c in zip(points, self.centre, strict=True))
        u, v, w = (
            (turn[0, i] * dx + turn[1, i] * dy + turn[2, i] * dz) / np.float32(radius)
            for i, radius in enumerate(self.radii)
        )
        return u, v, w

    def point(self, local: Vector) -> Vector:
        """Return the patient coordinates of a point given in the body's own axes in units of the half axes."""
        turn = Rotation.from_euler("xyz", self.angles, degrees=True).as_matrix()
        x, y, z = turn @ (np.array(local) * np.array(self.radii)) + np.array(self.centre)
        return float(x), float(y), float(z)

    def distance(self, points: Points) -> FloatArray:
        """Return the signed distance, scaled by the smallest half axis."""
        u, v, w = self.local(points)
        if self.power == 2.0:
            level = np.sqrt(u * u + v * v + w * w)
        else:
            level = (np.abs(u) ** self.power + np.abs(v) ** self.power + np.abs(w) ** self.power) ** (1 / self.power)
        return (level - 1) * min(self.radii)

    def bounds(self) -> Box:
        """Return the box of the sphere around the body; power above 2 bulges beyond the ellipsoid, not the box."""
        reach = max(self.radii) if self.power == 2.0 else float(np.linalg.norm(self.radii))
        (x, y, z), r = self.centre, reach
        return (x - r, y - r, z - r), (x + r, y + r, z + r)


@dataclass(frozen=True)
class Capsule:
    """A round cone between two balls: ends and radii in millimetres. Chains of them make vessels and bowel."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float

    def distance(self, points: Points) -> FloatArray:
        """Return the distance to the axis minus the radius at the nearest axis point."""
        axis = np.subtract(self.end, self.start).astype(np.float32)
        dx, dy, dz = (p - np.float32(s) for p, s in zip(points, self.start, strict=True))
        length2 = max(float(axis @ axis), 1e-6)
        t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / np.float32(length2), 0, 1)
        away = np.sqrt((dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2 + (dz - t * axis[2]) ** 2)
        return away - (np.float32(self.start_radius) + t * np.float32(self.end_radius - self.start_radius))

    def bounds(self) -> Box:
        """Return the box around both balls."""
        r = max(self.start_radius, self.end_radius)
        low = [min(a, b) - r for a, b in zip(self.start, self.end, strict=True)]
        high = [max(a, b) + r for a, b in zip(self.start, self.end, strict=True)]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


@dataclass(frozen=True)
class HalfSpace:
    """Everything behind a plane through ``point`` whose outward ``normal`` has any length."""

    point: Vector
    normal: Vector

    def distance(self, points: Points) -> FloatArray:
        """Return the exact signed distance to the plane."""
        n = (np.array(self.normal) / np.linalg.norm(self.normal)).astype(np.float32)
        dx, dy, dz = (p - np.float32(c) for p, c in zip(points, self.point, strict=True))
        return dx * n[0] + dy * n[1] + dz * n[2]

    def bounds(self) -> Box:
        """Return a box without limits."""
        return EVERYWHERE


@dataclass(frozen=True)
class Union:
    """Two solids joined with a fillet of about ``fillet`` millimetres (polynomial smooth minimum)."""

    first: Shape
    second: Shape
    fillet: float

    def distance(self, points: Points) -> FloatArray:
        """Return the blended distance."""
        a, b = self.first.distance(points), self.second.distance(points)
        h = np.clip(1 - np.abs(a - b) / self.fillet, 0, None)
        return np.minimum(a, b) - h * h * (self.fillet / 4)

    def bounds(self) -> Box:
        """Return the box around both, with room for the fillet."""
        (low_a, high_a), (low_b, high_b) = self.first.bounds(), self.second.bounds()
        low = [min(a, b) - self.fillet for a, b in zip(low_a, low_b, strict=True)]
        high = [max(a, b) + self.fillet for a, b in zip(high_a, high_b, strict=True)]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


@dataclass(frozen=True)
class Intersection:
    """The part of ``first`` inside ``second``, with the edge rounded by about ``fillet`` millimetres."""

    first: Shape
    second: Shape
    fillet: float = 0.01

    def distance(self, points: Points) -> FloatArray:
        """Return the blended distance."""
        a, b = self.first.distance(points), self.second.distance(points)
        h = np.clip(1 - np.abs(a - b) / self.fillet, 0, None)
        return np.maximum(a, b) + h * h * (self.fillet / 4)

    def bounds(self) -> Box:
        """Return the box of the first solid."""
        return self.first.bounds()


@dataclass(frozen=True)
class Difference:
    """The part of ``first`` outside ``second``."""

    first: Shape
    second: Shape

    def distance(self, points: Points) -> FloatArray:
        """Return the distance; the cut edge is sharp."""
        return np.maximum(self.first.distance(points), -self.second.distance(points))

    def bounds(self) -> Box:
        """Return the box of the first solid."""
        return self.first.bounds()


@dataclass(frozen=True)
class Inset:
    """A solid shrunk by ``depth`` millimetres, or grown where that is negative; the difference is a wall."""

    solid: Shape
    depth: float

    def distance(self, points: Points) -> FloatArray:
        """Return the distance to the new surface."""
        return self.solid.distance(points) + np.float32(self.depth)

    def bounds(self) -> Box:
        """Return the box of the whole solid, with room for what is grown."""
        (a, b, c), (d, e, f) = self.solid.bounds()
        room = max(0.0, -self.depth)
        return (a - room, b - room, c - room), (d + room, e + room, f + room)
