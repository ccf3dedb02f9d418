"""Depth, strides and kernels, held against plans of the original's authors."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fedgin.planning.topology import SMALLEST_FEATURES, plan_topology

SIDES = st.integers(1, 32).map(lambda step: 16 * step)


def test_the_plan_of_the_decathlon_s_prostate_is_the_published_one() -> None:
    """Patches of 20 x 320 x 256 voxels of 3.6 x 0.62 x 0.62 mm (Isensee et al. 2021, supplement)."""
    planned = plan_topology((20, 320, 256), (3.6, 0.62, 0.62))
    assert planned.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    assert planned.kernels == ((1, 3, 3), (1, 3, 3), *[(3, 3, 3)] * 5)
    assert planned.channels == (32, 64, 128, 256, 320, 320, 320)


def test_the_plan_of_the_decathlon_s_brain_tumours_is_the_published_one() -> None:
    planned = plan_topology((128, 128, 128), (1.0, 1.0, 1.0))
    assert planned.strides == ((1, 1, 1), *[(2, 2, 2)] * 5)
    assert set(planned.kernels) == {(3, 3, 3)}


@given(st.tuples(SIDES, SIDES, SIDES) | st.tuples(SIDES, SIDES), st.tuples(*[st.floats(0.2, 10.0)] * 3))
def test_every_size_can_be_halved_as_planned(size: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    planned = plan_topology(size, spacing[: len(size)])
    assert planned.levels == len(planned.strides) == len(planned.kernels) >= 3
    for axis, side in enumerate(size):
        reduction = math.prod(level[axis] for level in planned.strides)
        assert side % reduction == 0
        assert side // reduction >= SMALLEST_FEATURES
