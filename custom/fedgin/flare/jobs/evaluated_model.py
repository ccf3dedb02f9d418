"""The model that a job scores: weights of a bundle, in one file that holds no code."""

from pathlib import Path

import safetensors

from fedgin.errors import ConfigError, WeightsError
from fedgin.files import hash_file
from fedgin.train.experiment import EVALUATED_MODEL, Experiment

FIX = "give the bundle again: fedgin run jobs/evaluate --bundle BUNDLE"


def check_model(path: Path, experiment: Experiment) -> None:
    """Check that a job carries the model that its experiment names, and that no other job carries one.

    Args:
        path: where the weights are, in the folder of ``experiment.yaml``.
        experiment: of the job.

    Raises:
        ConfigError: there is a model where none belongs.
        WeightsError: it is missing, damaged or another one.
    """
    if experiment.evaluates is None:
        if path.exists():
            raise ConfigError(f"the job carries '{EVALUATED_MODEL}', but evaluates nothing", FIX)
        return
    if not path.is_file():
        raise WeightsError(f"{EVALUATED_MODEL} is missing: there is nothing to evaluate", FIX)
    if hash_file(path) != experiment.evaluates.sha256:
        raise WeightsError(f"{EVALUATED_MODEL} is not the file that 'evaluates.sha256' names", FIX)
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except Exception:  # a damaged file raises many kinds
        raise WeightsError(f"{EVALUATED_MODEL} holds no weights", FIX) from None
