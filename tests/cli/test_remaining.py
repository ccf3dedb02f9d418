import math

import pytest

from fedgin.cli.remaining import RemainingTime, left


def test_the_estimate_leaves_out_the_first_step() -> None:
    """The first step ends after 100 s, of which 90 are a start; each other one takes 10 s."""
    ends = iter([100.0, 110.0, 120.0, 130.0])
    remaining = RemainingTime(4, clock=lambda: next(ends))
    assert math.isnan(remaining.step())
    assert [remaining.step() for _ in range(3)] == [20.0, 10.0, 0.0]


def test_steps_of_an_earlier_run_are_done_and_took_no_time() -> None:
    ends = iter([100.0, 110.0, 120.0])
    remaining = RemainingTime(10, clock=lambda: next(ends))
    assert math.isnan(remaining.step(8))
    assert [remaining.step(done) for done in (9, 10)] == [10.0, 0.0]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (math.nan, ""),
        (0.0, ""),
        (0.2, "about 1 s left"),
        (89.0, "about 89 s left"),
        (100.0, "about 2 min left"),
        (5400.0, "about 2 h left"),
        (400000.0, "about 5 days left"),
    ],
)
def test_it_is_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert left(seconds) == said
