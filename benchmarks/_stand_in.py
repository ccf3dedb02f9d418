"""A stand-in for a site's training process: it answers a task at once with an update of the model's shapes.

It neither reads images nor loads PyTorch, so that a machine carries many sites. See :mod:`benchmarks._instead`.
"""

import sys
from pathlib import Path

import numpy as np

from fedgin.train.experiment import load_experiment
from fedgin.train.site.messages import Message, read_message, write_message
from fedgin.train.site.update import LocalUpdate

METRICS = {"val_dice_mean": 0.5}
SLICES = 8
STEP = 1e-4


def answer(task: Message, transfer: str) -> Message:
    """Do a task without training.

    Args:
        task: as a site's executor sends it.
        transfer: ``federation.transfer`` of the job.
    """
    if task.kind == "train":
        update = {name: np.full(value.shape, STEP, transfer) for name, value in task.arrays.items()}
        shown = {"cases": 1, "of_cases": 1, "slices": SLICES, "of_slices": SLICES}
        told = vars(LocalUpdate({}, METRICS, float(SLICES), 1.0, shown))
        return Message("done", {name: value for name, value in told.items() if name != "difference"}, update)
    return Message("done", {"metrics": METRICS})


def main() -> None:
    """Serve until standard input ends."""
    transfer = load_experiment(Path(sys.argv[1])).federation.transfer
    while (task := read_message(sys.stdin.buffer)) is not None:
        write_message(sys.stdout.buffer, answer(task, transfer))


if __name__ == "__main__":
    main()
