"""What a job names, tried in a process that ends with the answer: are its classes installed, can its network be built?

Both need PyTorch and MONAI: 400 MB, which a console, or FLARE's server or client, would keep for as long as it runs.
"""

import importlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedgin import launch
from fedgin.errors import ConfigError, FedginError
from fedgin.train.experiment import Experiment
from fedgin.train.pretrained_file import find_file

CORRECT = "correct 'network' and 'augmentation' in experiment.yaml"
INSTALL = "install the pinned requirements of this package here"
# What was tried once and is right: classes, and weights of the network by what it is made of.
_importable: set[str] = set()
_parameters: dict[str, int] = {}


def check_installed(classes: Collection[str]) -> None:
    """Import classes elsewhere; those that were found once are not tried again.

    Args:
        classes: dotted paths, all of the allow-list or of this package: importing runs code.

    Raises:
        ConfigError: names the first that cannot be imported or does not exist, and why.
    """
    untried = sorted(set(classes) - _importable)
    if untried:
        _checked({"classes": untried})
        _importable.update(untried)


def count_parameters(experiment: Experiment, classes: Collection[str] = (), *, models: Path | None = None) -> int:
    """Build network and augmentation of an experiment elsewhere, without memory for weights.

    Where the experiment starts from a file of weights, its entries are compared with the network's.

    Args:
        experiment: whose parts are built; the same parts are not built again.
        classes: as :func:`check_installed`, tried in the same process.
        models: the folder with the file that the experiment starts from; ``None`` compares nothing.

    Returns:
        The number of weights.

    Raises:
        ConfigError: as :func:`check_installed`; or a name, a parameter or a value is wrong, or the file does not fit.
        WeightsError: the file is not there, or is another one.
    """
    started = models is not None and experiment.starts_from
    file = str(find_file(started, models)) if started else ""
    included = {"name", "organs", "preprocessing", "network", "augmentation"}
    parts = {**experiment.model_dump(mode="json", include=included), "name": "x"}
    key = json.dumps([parts, file], sort_keys=True)
    if key not in _parameters:
        untried = sorted(set(classes) - _importable)
        _parameters[key] = int(_checked({"classes": untried, "experiment": parts, "file": file})["parameters"])
        _importable.update(untried)
    check_installed(classes)
    return _parameters[key]


def _checked(what: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = ask(what)
    if "problem" in answer:
        raise ConfigError(answer["problem"], answer["fix"])
    return answer


def ask(what: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a new process answers: see :func:`answer_to`; or, when it ended without, that it did."""
    told, code = launch.ask("fedgin.flare.jobs.installed", json.dumps(what).encode(), quiet=True)
    try:
        answer: Mapping[str, Any] = json.loads(told.splitlines()[-1])
    except (IndexError, ValueError):
        return {"problem": f"trying what the job names ended with code {code}", "fix": INSTALL}
    return answer


def answer_to(what: Mapping[str, Any]) -> Mapping[str, Any]:
    """Import ``classes``, build the ``experiment`` where there is one; return ``parameters``, or problem and fix."""
    fault = _find_fault(what["classes"])
    if fault or "experiment" not in what:
        return fault
    try:
        return {"parameters": _build(Experiment.model_validate(what["experiment"]), what["file"])}
    except FedginError as error:
        return {"problem": error.problem, "fix": error.fix}
    except Exception as error:  # a network's own, for values that fit its signature and not each other
        problem = f"network or augmentation cannot be built: {type(error).__name__}: {error}"
        return {"problem": problem, "fix": CORRECT}


def _build(experiment: Experiment, file: str) -> int:
    from fedgin.nets.without_memory import without_memory
    from fedgin.train.checkpoint import count_weights
    from fedgin.train.pretrained import check_entries

    with without_memory():
        network = experiment.initial_network()
    if file and experiment.starts_from:
        check_entries(network, experiment.starts_from, Path(file))
    return count_weights(network)


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
            return {"problem": f"'{path}' cannot be imported here: {cause}", "fix": INSTALL}
        if not found:
            fix = "install the version of this package that the kit expects"
            return {"problem": f"'{path}' does not exist here", "fix": fix}
    return {}


def main() -> None:
    """Answer on standard output to the JSON on standard input."""
    print(f"\n{json.dumps(answer_to(json.load(sys.stdin)))}")


if __name__ == "__main__":
    main()
