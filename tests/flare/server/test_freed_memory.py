"""What a process still holds after it has freed much, measured in a process of its own."""

import gc
import subprocess
import sys
import weakref

from fedgin.flare.server.freed_memory import FreedMemory
from fedgin.processes import same_packages

# An array of 8 MB that is freed teaches glibc to keep smaller ones, and what lies behind each keeps its place.
HOLDS = """
import sys, psutil
import numpy as np
from fedgin.flare.server.freed_memory import FreedMemory
memory = FreedMemory()
if sys.argv[1] == "returned":
    memory.start()
np.ones(8 * 2**20, np.uint8)
class Message:
    def __init__(self):
        self.itself, self.array = self, np.ones(2 * 2**20, np.uint8)  # a circle, as FLARE's have
before = psutil.Process().memory_info().rss
small = []
for _ in range(100):
    Message()
    small.append(bytearray(4096))
memory.free()
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


def test_freed_messages_leave_the_process() -> None:
    assert megabytes_held("kept") > 100.0
    assert megabytes_held("returned") < 20.0


def test_messages_are_freed_after_every_8_mb_that_are_sent() -> None:
    memory, freed = FreedMemory(), list[int]()

    class Message:
        def __init__(self, number: int) -> None:
            self.itself = self
            weakref.finalize(self, freed.append, number)

    gc.disable()
    try:
        for number in range(4):
            Message(number)
            memory.count(2 * 2**20)
            assert len(freed) == (4 if number == 3 else 0)
    finally:
        gc.enable()


def test_what_was_there_at_the_start_is_looked_at_again_when_the_run_is_over() -> None:
    memory = FreedMemory()
    memory.start()
    assert gc.get_freeze_count() > 0
    memory.stop()
    assert gc.get_freeze_count() == 0
