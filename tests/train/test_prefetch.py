import threading
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.train.prefetch import prefetched

AHEAD = st.integers(0, 4)
# Only against a hang: what is waited for comes at once.
SECONDS = 60


class BrokenError(Exception):
    pass


class Source:
    """Counts from 0 to ``length``, or to the error at ``broken``, and remembers who read it and how far."""

    def __init__(self, length: int | None = None, broken: int | None = None) -> None:
        self.length, self.broken, self.error = length, broken, BrokenError()
        self.read = 0
        self.threads: set[threading.Thread] = set()
        self.begun_in: threading.Thread | None = None
        self.progress = threading.Condition()

    def __iter__(self) -> Iterator[int]:
        self.begun_in = threading.current_thread()
        return self._items()

    def _items(self) -> Iterator[int]:
        for item in count():
            self.threads.add(threading.current_thread())
            if item == self.length:
                return
            if item == self.broken:
                raise self.error
            with self.progress:
                self.read += 1
                self.progress.notify_all()
            yield item

    def wait_for(self, items: int) -> bool:
        with self.progress:
            return self.progress.wait_for(lambda: self.read >= items, SECONDS)

    def alive(self) -> list[threading.Thread]:
        return [thread for thread in self.threads - {threading.current_thread()} if thread.is_alive()]


@given(length=st.integers(0, 20), ahead=AHEAD)
def test_all_items_come_in_their_order_and_no_thread_stays(length: int, ahead: int) -> None:
    source = Source(length)
    with prefetched(source, ahead) as items:
        assert list(items) == list(range(length))
        assert next(items, None) is None
    assert source.alive() == []


@given(broken=st.integers(0, 8), ahead=AHEAD)
def test_an_error_of_the_source_comes_in_its_place_as_it_was_raised(broken: int, ahead: int) -> None:
    source = Source(broken=broken)
    with prefetched(source, ahead) as items:
        assert [next(items) for _ in range(broken)] == list(range(broken))
        with pytest.raises(BrokenError) as caught:
            next(items)
    assert caught.value is source.error
    assert source.alive() == []


@given(taken=st.integers(0, 6), ahead=AHEAD, error=st.sampled_from([None, BrokenError(), KeyboardInterrupt()]))
def test_whoever_leaves_early_leaves_no_thread_and_loses_no_error(
    taken: int, ahead: int, error: BaseException | None
) -> None:
    source = Source()
    with pytest.raises(type(error)) if error else nullcontext(), prefetched(source, ahead) as items:
        leave_after(taken, items, error)
    assert source.alive() == []
    assert source.read <= taken + ahead


def leave_after(taken: int, items: Iterator[int], error: BaseException | None) -> None:
    for _ in range(taken):
        next(items)
    if error:
        raise error


@given(taken=st.integers(1, 6), ahead=AHEAD)
def test_as_many_items_as_asked_are_read_ahead_and_never_more(taken: int, ahead: int) -> None:
    source = Source()
    with prefetched(source, ahead) as items:
        for done in range(1, taken + 1):
            next(items)
            assert source.wait_for(done + ahead)
            assert source.read == done + ahead


@given(ahead=AHEAD)
def test_the_source_begins_in_the_thread_of_the_caller(ahead: int) -> None:
    source, here = Source(3), threading.current_thread()
    with prefetched(source, ahead) as items:
        list(items)
    assert source.begun_in is here
    assert (here in source.threads) == (ahead == 0)
    assert len(source.threads) == 1
