"""Whether the classes that a job names are installed here, tried in a process that ends with the answer.

Some import PyTorch and MONAI: 400 MB, which FLARE's server or client would keep for as long as it runs.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Collection, Sequence

from fedgin.errors import ConfigError
from fedgin.processes import same_packages

_importable: set[str] = set()


def check_installed(classes: Collection[str]) -> None:
    """Import classes elsewhere; those that were found once are not tried again.

    Args:
        classes: dotted paths, all of the allow-list or of this package: importing runs code.

    Raises:
        ConfigError: names the first that cannot be imported or does not exist, and why.
    """
    untried = sorted(set(classes) - _importable)
    if not untried:
        return
    command = [sys.executable, "-P", "-m", "fedgin.flare.jobs.installed", *untried]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, env=same_packages())
    try:
        fault = json.loads(tried.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        fault = {
            "problem": f"importing the classes of the job ended with code {tried.returncode}",
            "fix": "install the pinned requirements of this package at this site",
        }
    if fault:
        raise ConfigError(fault["problem"], fault["fix"])
    _importable.update(untried)


def _find_fault(classes: Sequence[str]) -> dict[str, str]:
    """Import each class; return problem and fix of the first fault, or nothing."""
    for path in classes:
        module, _, attribute = path.rpartition(".")
        try:
            found = hasattr(importlib.import_module(module), attribute)
        except Exception as error:  # a damaged installation raises many kinds
            cause = f"{type(error).__name__} in module '{module}'"
            if isinstance(error, ModuleNotFoundError):
                cause = f"module '{error.name}' is missing"
            fix = "install the pinned requirements of this package at this site"
            return {"problem": f"'{path}' cannot be imported here: {cause}", "fix": fix}
        if not found:
            fix = "install the version of this package that the kit expects"
            return {"problem": f"'{path}' does not exist here", "fix": fix}
    return {}


if __name__ == "__main__":
    print(f"\n{json.dumps(_find_fault(sys.argv[1:]))}")
