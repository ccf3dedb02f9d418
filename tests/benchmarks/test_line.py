"""A slow line lets packets arrive so late, so slowly and with such losses as it was told."""

import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks._line import QUEUED, Way
from benchmarks.slow_line import least_seconds

RATE, DELAY = 1000.0, 0.5


def way(got: list[bytes], loss: float = 0.0) -> Way:
    return Way(got.append, DELAY, RATE, loss, random.Random(0))


@given(st.lists(st.tuples(st.integers(1, 1500), st.floats(0.0, 2.0)), max_size=10))
def test_packets_arrive_in_order_and_when_all_of_them_was_sent(packets: list[tuple[int, float]]) -> None:
    got: list[bytes] = []
    line, now, sent = way(got), 0.0, 0.0
    for taken, (size, pause) in enumerate(packets, start=1):
        now += pause
        line.take(bytes(size), now)
        sent = max(now, sent) + size / RATE
        assert line.hand_over(sent + DELAY - 1e-6) is not None
        assert len(got) < taken
    assert line.hand_over(sent + DELAY) is None
    assert [len(packet) for packet in got] == [size for size, _ in packets]


def test_the_asked_share_is_lost() -> None:
    got: list[bytes] = []
    line = way(got, loss=0.1)
    for number in range(10_000):
        line.take(b"x", float(number))
        line.hand_over(float(number) + 1.0)
    assert 0.88 < len(got) / 10_000 < 0.92


def test_where_too_many_wait_a_packet_is_lost() -> None:
    got: list[bytes] = []
    line = way(got)
    for _ in range(QUEUED + 5):
        line.take(b"x", 0.0)
    line.hand_over(float("inf"))
    assert len(got) == QUEUED


def test_twenty_megabit_carry_five_megabytes_in_two_seconds() -> None:
    assert least_seconds(4_000_000, 1_000_000, 20.0) == 2.0
