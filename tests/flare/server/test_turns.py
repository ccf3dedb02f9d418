"""Sites that take turns in fetching, between a producer and a consumer of FLARE's own."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.app_common.np.np_downloader import ArrayConsumer, ArrayDownloadable
from nvflare.fuel.f3.streaming.download_service import ProduceRC
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs import dots

from fedgin.flare.server.turns import PLACES, ModelQueue, QueuedArrays, Turns, sites_at_once

PIECE = 1000


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60), st.integers(1, 4))
def test_no_more_than_so_many_go_at_once_and_a_free_turn_is_never_refused(
    asked: list[tuple[str, bool]], at_once: int
) -> None:
    turns, going = Turns(at_once, clock=Clock()), set[str]()
    for who, ends in asked:
        if ends:
            turns.end(who)
            going.discard(who)
        elif turns.wait(who, 0.0):
            going.add(who)
        else:
            assert len(going) == at_once
            assert who not in going
        assert len(going) <= at_once


@given(st.integers(1, 10**10))
def test_models_under_way_at_once_have_64_mb_or_are_four(model: int) -> None:
    at_once = sites_at_once(model)
    assert at_once >= 4
    assert at_once == 4 or at_once * model <= 2**26 < (at_once + 1) * model


def test_who_has_waited_for_too_long_goes_beside_the_others() -> None:
    clock = Clock()
    turns = Turns(1, patience=60.0, clock=clock)
    assert turns.wait("cut off", 0.0)
    assert not turns.wait("waiting", 0.0)
    clock.now = 59.0
    assert not turns.wait("waiting", 0.0)
    clock.now = 60.0
    assert turns.wait("waiting", 0.0)


def test_the_end_of_a_turn_wakes_who_waits() -> None:
    turns, order = Turns(1), list[str]()

    def fetch() -> None:
        with turns.turn():
            order.append("second")

    with turns.turn():
        second = threading.Thread(target=fetch)
        second.start()
        time.sleep(0.05)
        order.append("first")
    second.join(10.0)
    assert order == ["first", "second"]


def test_a_crowd_does_not_take_all_of_flares_threads() -> None:
    turns, fetching = Turns(1), threading.Semaphore(0)

    def fetch() -> None:
        with turns.turn():
            fetching.release()

    crowd = [threading.Thread(target=fetch, daemon=True) for _ in range(64)]
    with turns.turn():
        for thread in crowd:
            thread.start()
        for _ in range(len(crowd) - PLACES):
            assert fetching.acquire(timeout=30.0)
        assert not fetching.acquire(timeout=0.1)
    for thread in crowd:
        thread.join(30.0)
    assert not any(thread.is_alive() for thread in crowd)


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="cut off"), turns.turn():
        raise ValueError("cut off")
    assert turns.wait("next", 0.0)


ARRAYS = {"a": np.arange(500.0), "b": np.ones((), np.float32), "c": np.zeros((3, 200))}


class Site:
    """Fetches as FLARE's receiver does: with the state that it was given last."""

    def __init__(self, name: str, source: ArrayDownloadable) -> None:
        self.name, self.source = name, source
        self.consumer = ArrayConsumer(None, {})
        self.state: dict[str, Any] | None = None
        self.empty = 0

    def ask(self) -> bool:
        """Ask for a piece; return whether there may be more."""
        code, items, state = self.source.produce(self.state, self.name)
        if code == ProduceRC.EOF:
            return False
        self.empty += not items
        self.state = self.consumer.consume("", dict(state), items)
        return True

    def has_all(self) -> bool:
        got = self.consumer.result
        return got.keys() == ARRAYS.keys() and all(np.array_equal(got[name], ARRAYS[name]) for name in ARRAYS)


def queued(turns: Turns) -> QueuedArrays:
    return QueuedArrays(dict(ARRAYS), PIECE, turns)


def test_a_site_that_has_to_wait_gets_empty_pieces_and_then_every_array() -> None:
    turns = Turns(1)
    first, second = Site("one", queued(turns)), Site("two", queued(turns))
    assert first.ask()
    assert second.ask()
    while first.ask():
        pass
    while second.ask():
        pass
    assert (first.empty, second.empty) == (0, 1)
    assert first.has_all()
    assert second.has_all()


def test_a_site_that_stops_fetching_keeps_nobody_waiting_when_flare_gives_it_up() -> None:
    turns = Turns(1)
    lost, second = queued(turns), Site("two", queued(turns))
    assert lost.produce({}, "one")[1]
    assert second.ask()
    lost.transaction_done("", "timeout")
    while second.ask():
        pass
    assert second.empty == 1
    assert second.has_all()


def test_arrays_that_flare_has_given_up_take_no_turn() -> None:
    turns = Turns(1)
    lost, second = queued(turns), Site("two", queued(turns))
    lost.transaction_done("", "timeout")
    lost.release()
    with pytest.raises(RuntimeError, match="released"):
        lost.produce({}, "one")
    assert second.ask()
    assert second.empty == 0


@pytest.fixture
def queue() -> Iterator[ModelQueue]:
    queue = ModelQueue(2)
    yield queue
    queue.stop()


def test_the_arrays_of_a_process_are_queued_while_a_job_runs(queue: ModelQueue) -> None:
    queue.start()
    handler = fobs.get_dot_handler(dots.NUMPY_DOWNLOAD)
    assert isinstance(handler.to_downloadable(ARRAYS, PIECE, {}), QueuedArrays)
    queue.stop()
    assert type(handler.to_downloadable(ARRAYS, PIECE, {})) is ArrayDownloadable
