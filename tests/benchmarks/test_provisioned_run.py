"""What sites note of their tasks, and which of them is the slowest."""

import json

from benchmarks._stopwatch import read_seconds
from benchmarks.provisioned_run import slowest


def test_the_slowest_site_is_that_with_the_longest_tasks_together() -> None:
    notes = {"a": [["train", 2.0], ["train", 3.0], ["validate", 1.0]], "b": [["train", 5.5]]}
    spent = {name: read_seconds("".join(json.dumps(note) + "\n" for note in kept)) for name, kept in notes.items()}
    assert spent["a"] == {"train": 5.0, "validate": 1.0}
    assert slowest(spent) == 6.0
