"""A site's training process that notes the seconds of each of its tasks. See :mod:`benchmarks._instead`.

What counts is the session's own work: reading and preparing cases, training, validation. The start of Python, the
import of PyTorch and the way of a task to the process do not.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from fedgin.train.site import worker
from fedgin.train.site.messages import Message

FOLDER = "FEDGIN_BENCHMARK_SECONDS"


class TimedWorker(worker.Worker):
    """Appends a line to the site's file for each task."""

    def _do(self, task: Message) -> Message:
        started = time.monotonic()
        try:
            return super()._do(task)
        finally:
            kit = self.contract.parents[1]
            with open(Path(os.environ[FOLDER]) / kit.name, "a", encoding="utf-8") as file:
                file.write(json.dumps([task.kind, time.monotonic() - started]) + "\n")


def read_seconds(text: str) -> Mapping[str, float]:
    """Add up a site's file by kind of task."""
    total: dict[str, float] = {}
    for line in text.splitlines():
        kind, seconds = json.loads(line)
        total[kind] = total.get(kind, 0.0) + seconds
    return total


if __name__ == "__main__":
    worker.Worker = TimedWorker  # type: ignore[misc]
    worker.main()
