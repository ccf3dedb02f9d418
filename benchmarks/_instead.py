"""Let modules of a benchmark run in place of others in the processes that it starts; all else is as it always is."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from fedgin.processes import same_packages

HERE = Path(__file__).resolve().parent
TRAINER = "fedgin.train.site.worker"
CHECK = "fedgin.flare.jobs.installed"


def instead(modules: Mapping[str, ModuleType]) -> dict[str, str]:
    """Return the changes to an environment with which this happens; ``_startup/sitecustomize.py`` reads them.

    Args:
        modules: by the name of what they replace, which is started with ``python -m``. Each is run as ``__main__``
            with the arguments of the other.
    """
    paths = [str(HERE / "_startup"), str(HERE.parent), same_packages()["PYTHONPATH"]]
    names = {name: module.__name__ for name, module in modules.items()}
    return {"FEDGIN_BENCHMARK_MODULES": json.dumps(names), "PYTHONPATH": os.pathsep.join(paths)}
