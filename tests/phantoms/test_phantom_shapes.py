from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.phantoms.grid import trunk_grid
from fedgin.phantoms.layers import Layer, paint, tube
from fedgin.phantoms.shapes import (
    Capsule,
    Column,
    Difference,
    Ellipsoid,
    HalfSpace,
    Inset,
    Intersection,
    Points,
    Shape,
    Union,
)
from fedgin.phantoms.tissues import Tissue

BALL = Ellipsoid((10.0, 0.0, 0.0), (20.0, 20.0, 20.0))


def at(*places: tuple[float, float, float]) -> Points:
    x, y, z = np.array(places, dtype=np.float32).T
    return x, y, z


def test_distance_of_a_ball_is_exact() -> None:
    np.testing.assert_allclose(BALL.distance(at((10, 0, 0), (30, 0, 0), (10, 30, 0))), [-20, 0, 10], atol=1e-4)


def test_distance_of_a_round_cone() -> None:
    cone = Capsule((0, 0, 0), (10, 0, 0), 2.0, 4.0)
    np.testing.assert_allclose(cone.distance(at((5, 5, 0), (-4, 0, 0), (16, 0, 0))), [2, 2, 2], atol=1e-4)


def test_combinations_at_single_points() -> None:
    right = HalfSpace((10.0, 0.0, 0.0), (-2.0, 0.0, 0.0))
    inside_right, inside_left = at((20, 0, 0)), at((0, 0, 0))
    assert Intersection(BALL, right).distance(inside_right) < 0 < Intersection(BALL, right).distance(inside_left)
    assert Difference(BALL, right).distance(inside_left) < 0 < Difference(BALL, right).distance(inside_right)
    assert Inset(BALL, 15.0).distance(at((20, 0, 0)))[0] == pytest.approx(5.0, abs=1e-4)
    twin = Ellipsoid((-31.0, 0.0, 0.0), (20.0, 20.0, 20.0))
    assert Union(BALL, twin, 10.0).distance(at((-10.5, 0, 0))) < 0 < BALL.distance(at((-10.5, 0, 0)))


def test_an_ellipsoid_turns_about_its_centre() -> None:
    long_in_x = Ellipsoid((0, 0, 0), (30, 10, 10), (0.0, 0.0, 90.0))
    assert long_in_x.distance(at((0, 25, 0))) < 0 < long_in_x.distance(at((25, 0, 0)))
    np.testing.assert_allclose(long_in_x.point((1.0, 0.0, 0.0)), (0, 30, 0), atol=1e-6)


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    power=st.sampled_from([2.0, 2.5, 4.0]),
    direction=st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_bounds_contain_the_solid(
    angles: tuple[float, float, float], power: float, direction: tuple[float, float, float]
) -> None:
    solid = Ellipsoid((5, -3, 2), (30, 12, 20), angles, power)
    place = np.array(solid.centre) + 60 * np.array(direction)
    low, high = solid.bounds()
    if solid.distance(at((place[0], place[1], place[2])))[0] < 0:
        assert np.all(place >= low)
        assert np.all(place <= high)


def test_paint_respects_order_and_what_a_layer_may_cover() -> None:
    grid = trunk_grid(6.0, 10.0)
    nowhere = np.zeros(grid.shape, dtype=np.float32)
    everything: Shape = Column((0.0, 0.0), (1e4, 1e4), 2.0)
    layers = [
        Layer(Tissue.VISCERAL_FAT, everything, frozenset({Tissue.AIR})),
        Layer(Tissue.LIVER, BALL, frozenset({Tissue.VISCERAL_FAT})),
        Layer(Tissue.SPLEEN, everything, frozenset({Tissue.LIVER})),
        Layer(Tissue.MUSCLE, everything, frozenset({Tissue.LIVER})),
    ]
    volume = paint(layers, grid, (nowhere, nowhere, nowhere))
    x, y, z = np.meshgrid(*grid.axes(), indexing="ij")
    np.testing.assert_array_equal(volume == Tissue.SPLEEN, BALL.distance((x, y, z)) < 0)
    assert set(np.unique(volume)) == {Tissue.VISCERAL_FAT, Tissue.SPLEEN}


def test_displacement_moves_a_solid_against_itself() -> None:
    grid = trunk_grid(4.0, 4.0)
    still, moved = np.zeros(grid.shape, dtype=np.float32), np.full(grid.shape, 8.0, dtype=np.float32)
    layer = Layer(Tissue.LIVER, BALL, frozenset({Tissue.AIR}))
    before, after = paint([layer], grid, (still, still, still)), paint([layer], grid, (moved, still, still))
    np.testing.assert_array_equal(after[:-2], before[2:])


def test_a_tube_passes_through_its_points_with_their_radii() -> None:
    chain = tube([(0, 0, 0), (30, 10, 0), (60, 0, 0)], [3.0, 6.0, 4.0])
    assert chain[0].start == pytest.approx((0, 0, 0))
    assert chain[-1].end == pytest.approx((60, 0, 0))
    assert (chain[0].start_radius, chain[-1].end_radius) == (3.0, 4.0)
    assert all(a.end == b.start for a, b in pairwise(chain))
