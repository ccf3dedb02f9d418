"""Whether the global model of a job's last round is a result at all."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from fedgin.errors import WeightsError
from fedgin.flare.jobs.job import Job
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, load_weights


def find_model_fault(model: Path, job: Job) -> str:
    """Say what is wrong with a model, or nothing: it is whole, finite and another than the initial one, or encrypted.

    Args:
        model: the checkpoint of the last round.
        job: whose network it is, and which says whether it is encrypted.
    """
    if not model.is_file():
        return "there is no global model"
    if job.experiment.federation.homomorphic_encryption:
        return _find_encryption_fault(model, job)
    initial = job.experiment.initial_network()
    before = {name: value.clone() for name, value in averaged_weights(initial).items()}
    try:
        load_weights(initial, load_checkpoint(model, "model")["model"], source="the global model")
    except WeightsError as error:
        return f"the global model is no result: {error}"
    return "" if _differs(initial, before) else "the global model is the initial one"


def _find_encryption_fault(model: Path, job: Job) -> str:
    """Say which weight the server could read; what is in the others only a site can tell, and its Dice does."""
    try:
        values = load_checkpoint(model, "model")["model"]
    except WeightsError as error:
        return f"the global model is no result: {error}"
    names = averaged_weights(job.experiment.initial_network())
    readable = [name for name in names if not isinstance(values.get(name), bytes)]
    return f"the global model is not encrypted: entry '{readable[0]}'" if readable else ""


def _differs(network: nn.Module, before: Mapping[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in averaged_weights(network).items())
