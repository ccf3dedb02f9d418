"""What FLARE's own sender and receiver hold of a message."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming import byte_receiver, byte_streamer
from nvflare.fuel.f3.streaming.blob_streamer import BlobStream
from nvflare.fuel.f3.streaming.byte_receiver import RxTask
from nvflare.fuel.f3.streaming.byte_streamer import ByteStreamer
from nvflare.fuel.f3.streaming.stream_const import StreamDataType, StreamHeaderKey
from nvflare.fuel.f3.streaming.stream_types import StreamFuture

from fedgin.flare.light_messages import Later, lighten_messages
from tests.flare.messages import restored

CHUNK = 2**20
TARGET = "a site of these tests alone"


class Line:
    """Stands for a cell; holds back what is sent until it may go."""

    def __init__(self, answer: Mapping[str, str] = MappingProxyType({})) -> None:
        self.may_go, self.answer = threading.Event(), answer
        self.sent = list[tuple[dict[str, Any], bytes]]()
        self.my_info = type("Info", (), {"fqcn": "server"})

    def add_error_handler(self, *_: object) -> None:
        pass

    def register_request_cb(self, **_: object) -> None:
        pass

    def fire_and_forget(
        self, _channel: str, _topic: str, _to: str, message: Any, **_options: object
    ) -> Mapping[str, str]:
        assert self.may_go.wait(10)
        self.sent.append((dict(message.headers), bytes(message.payload or b"")))
        return self.answer


def send(line: Line, message: bytes) -> StreamFuture:
    return ByteStreamer(line).send("channel", "topic", TARGET, {}, BlobStream(message, None))


def pieces(message: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Send a message; return what went over the line, but for the number that FLARE gives each message."""
    line = Line()
    line.may_go.set()
    assert send(line, message).result(10) == len(message)
    return [
        ({key: value for key, value in head.items() if key != StreamHeaderKey.STREAM_ID}, data)
        for head, data in line.sent
    ]


def waits_until(true: Callable[[], object]) -> bool:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with restored(monkeypatch):
        yield


@pytest.mark.usefixtures("_restored")
def test_it_is_held_against_flare_s_own_also_after_a_test_that_made_a_part_of_a_kit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lighten_messages()
    with restored(monkeypatch):
        assert byte_streamer.TxTask.__module__ == byte_streamer.__name__
        assert RxTask._schedule_remove_task.__module__ == byte_receiver.__name__


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("size", [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_a_message_travels_as_flare_sends_it(size: int) -> None:
    message = bytes(number % 251 for number in range(size))
    stock = pieces(message)
    lighten_messages()
    assert pieces(message) == stock
    assert b"".join(data for _, data in stock) == message


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("size", [100, 3 * CHUNK + 5])
@pytest.mark.parametrize("answer", [{}, {TARGET: "it is gone"}])
def test_a_message_has_no_larger_buffer_than_itself_and_ends_when_it_was_sent(
    size: int, answer: dict[str, str]
) -> None:
    lighten_messages()
    line = Line(answer)
    future = send(line, bytes(size))
    task = weakref.ref(future.task_handle)
    assert len(future.task_handle.buffer) == min(size, CHUNK)
    line.may_go.set()
    assert (future.exception(10) is None) == (not answer)
    del future
    assert waits_until(lambda: task() is None)  # the thread that sent it is about to let go


def receive(number: int, kept: float) -> RxTask:
    """Receive a message whose sender may repeat it for so many seconds."""
    headers = {
        StreamHeaderKey.STREAM_ID: number,
        StreamHeaderKey.RELIABLE: True,
        StreamHeaderKey.SEQUENCE: 0,
        StreamHeaderKey.OFFSET: 0,
        StreamHeaderKey.SIZE: 4,
        StreamHeaderKey.DATA_TYPE: StreamDataType.FINAL,
        MessageHeaderKey.ORIGIN: TARGET,
    }
    message = Message(headers, b"data")
    task = RxTask.find_or_create_task(message, Line())
    task.cell.may_go.set()
    task.completed_task_ttl = kept
    task.process_chunk(message)
    return task


@pytest.mark.usefixtures("_restored")
def test_messages_that_were_received_take_one_thread_together() -> None:
    lighten_messages()
    before = threading.active_count()
    tasks = [receive(number, 60.0) for number in range(50)]
    assert threading.active_count() <= before + 1
    assert {(TARGET, number) for number in range(50)} <= RxTask.rx_task_map.keys()
    for task in tasks:
        task._remove_task()
    assert not {key for key in RxTask.rx_task_map if key[0] == TARGET}


@pytest.mark.usefixtures("_restored")
def test_a_message_that_was_received_is_forgotten_when_it_cannot_be_repeated_any_more() -> None:
    lighten_messages()
    receive(1, 60.0)
    receive(2, 0.05)
    assert waits_until(lambda: (TARGET, 2) not in RxTask.rx_task_map)
    assert (TARGET, 1) in RxTask.rx_task_map
    RxTask.rx_task_map[(TARGET, 1)]._remove_task()


def test_things_are_done_at_their_times_whatever_the_order_in_which_they_were_given() -> None:
    later, done = Later(), list[int]()
    for number in (3, 1, 2, 0):
        later.do(number * 0.1, lambda number=number: done.append(number))  # type: ignore[misc]
    assert waits_until(lambda: len(done) == 4)
    assert done == [0, 1, 2, 3]


def test_what_fails_is_told_and_the_others_are_done(caplog: pytest.LogCaptureFixture) -> None:
    later, done = Later(), list[int]()
    later.do(0.0, lambda: 1 // 0)
    later.do(0.1, lambda: done.append(1))
    assert waits_until(lambda: done)
    assert [(record.levelname, record.name) for record in caplog.records] == [("ERROR", "fedgin.flare.light_messages")]
    assert "ZeroDivisionError" in caplog.text


def test_where_no_thread_could_be_started_the_next_thing_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    later, done = Later(), list[int]()
    with monkeypatch.context() as changes:
        changes.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            later.do(0.0, lambda: done.append(0))
    later.do(0.0, lambda: done.append(1))
    assert waits_until(lambda: len(done) == 2)
    assert done == [0, 1]
