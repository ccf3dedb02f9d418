"""Run one arm of a study as a process of its own: ``python -m fedgin.study.arm_worker STUDY.yaml ARM OUT``.

It prints a JSON line for each validation, and one with ``problem`` and ``fix`` when it fails. It ends with whoever
started it.
"""

import json
import os
import sys
from pathlib import Path

import torch

from fedgin.errors import FedginError
from fedgin.processes import heed_interrupts, watch_starter
from fedgin.study.arm_result import run_arm
from fedgin.study.plan import load_study
from fedgin.study.planned_arm import StudySites


def main() -> int:
    """Run the arm; 0 when its results are complete, 2 after a foreseen error, which is printed."""
    watch_starter(lambda: os._exit(1))
    heed_interrupts()
    source, name, out = sys.argv[1:]
    # PyTorch does not always follow the variable once another library has started its threads.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        study = load_study(Path(source))
        sites = StudySites(study, Path(out))
        setting = sites.setting(next(spec for spec in sites.arms() if spec.name == name)).staged()
        run_arm(setting.arm, setting.sites, setting.home.parent, lambda _, point: _print(point))
    except FedginError as error:
        _print({"problem": error.problem, "fix": error.fix})
        return 2
    return 0


def _print(values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
