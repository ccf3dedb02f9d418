"""What a process still holds after it has freed much, and what FLARE's own sender holds of a message."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from nvflare.fuel.f3.streaming import byte_streamer
from nvflare.fuel.f3.streaming.blob_streamer import BlobStream
from nvflare.fuel.f3.streaming.byte_streamer import ByteStreamer
from nvflare.fuel.f3.streaming.stream_const import StreamHeaderKey
from nvflare.fuel.f3.streaming.stream_types import StreamFuture

from fedgin.flare.server.freed_memory import FreedMemory, keep_little_memory
from fedgin.processes import same_packages

# An array of 8 MB that is freed teaches glibc to keep smaller ones, and what lies behind each keeps its place.
HOLDS = """
import sys, psutil
import numpy as np
from fedgin.flare.server.freed_memory import keep_little_memory
if sys.argv[1] == "returned":
    keep_little_memory()
np.ones(8 * 2**20, np.uint8)
before = psutil.Process().memory_info().rss
arrays, small = [], []
for _ in range(100):
    arrays.append(np.ones(2 * 2**20, np.uint8))
    small.append(bytearray(4096))
del arrays
print((psutil.Process().memory_info().rss - before) / 2**20)
"""
CHUNK = 2**20
TARGET = "site-1"


def megabytes_held(how: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", HOLDS, how],
        capture_output=True,
        text=True,
        check=True,
        env=same_packages(),
        timeout=120,
    )
    return float(done.stdout)


def test_freed_arrays_leave_the_process() -> None:
    assert megabytes_held("kept") > 100.0
    assert megabytes_held("returned") < 20.0


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
        self.sent.append((dict(message.headers), bytes(message.payload)))
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


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave FLARE's sender as it was, and circles alone."""
    monkeypatch.setattr(byte_streamer, "TxTask", byte_streamer.TxTask)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("size", [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_a_message_travels_as_flare_sends_it(size: int) -> None:
    message = bytes(number % 251 for number in range(size))
    stock = pieces(message)
    keep_little_memory()
    assert pieces(message) == stock
    assert b"".join(data for _, data in stock) == message


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("size", [100, 3 * CHUNK + 5])
@pytest.mark.parametrize("answer", [{}, {TARGET: "it is gone"}])
def test_a_message_has_no_larger_buffer_than_itself_and_ends_when_it_was_sent(
    size: int, answer: dict[str, str]
) -> None:
    keep_little_memory()
    line = Line(answer)
    future = send(line, bytes(size))
    task = weakref.ref(future.task_handle)
    assert len(future.task_handle.buffer) == min(size, CHUNK)
    line.may_go.set()
    assert (future.exception(10) is None) == (not answer)
    del future
    end = time.monotonic() + 10
    while task() is not None and time.monotonic() < end:  # the thread that sent it is about to let go
        time.sleep(0.01)
    assert task() is None


@pytest.mark.usefixtures("_restored")
def test_the_part_of_a_kit_does_it_in_its_process() -> None:
    stock = byte_streamer.TxTask
    FreedMemory()
    FreedMemory()
    assert byte_streamer.TxTask is not stock
    assert byte_streamer.TxTask.__mro__.count(stock) == 1
