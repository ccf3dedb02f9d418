"""What a process still holds after it has freed much, measured in a process of its own."""

import subprocess
import sys

from fedgin.processes import same_packages

# An array of 8 MB that is freed teaches glibc to keep smaller ones, and what lies behind each keeps its place.
HOLDS = """
import gc, sys, psutil
import numpy as np
from fedgin.flare.server.freed_memory import free_messages, return_freed_memory
if sys.argv[1] == "returned":
    return_freed_memory()
np.ones(8 * 2**20, np.uint8)
class Message:
    def __init__(self):
        self.itself, self.array = self, np.ones(2 * 2**20, np.uint8)
gc.disable()
before = psutil.Process().memory_info().rss
small = []
for _ in range(100):
    Message()
    small.append(bytearray(4096))
free_messages()
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
