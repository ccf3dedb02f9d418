"""What a process of the server still holds after it has freed much, measured in a process of its own."""

import subprocess
import sys

import pytest
from nvflare.fuel.f3.streaming import byte_streamer

from fedgin.flare.server.freed_memory import FreedMemory
from fedgin.processes import same_packages
from tests.flare.messages import restored

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


def test_the_part_of_a_kit_lightens_messages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = byte_streamer.TxTask
    with restored(monkeypatch):
        stock = byte_streamer.TxTask
        FreedMemory()
        FreedMemory()
        assert byte_streamer.TxTask.__mro__.count(stock) == 1
        assert byte_streamer.TxTask is not stock
    assert byte_streamer.TxTask is before
