"""A job that scores a bundle's model, completed from ``jobs/evaluate`` as the lead's verbs do."""

from pathlib import Path

import safetensors.torch

from fedgin.files import hash_file
from fedgin.flare.jobs.job import Job, load_evaluation, write_job
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import EVALUATED_MODEL, Experiment
from tests.places import JOBS
from tests.sites import tiny_experiment

TEMPLATE = JOBS / "evaluate"


def evaluating(sha256: str = "0" * 64, modality: str = "CT", **changes: object) -> Experiment:
    """Return an experiment that scores a model."""
    return tiny_experiment(evaluates={"name": "tiny-1", "sha256": sha256, "modalities": [modality]}, **changes)


def write_model(path: Path, experiment: Experiment) -> str:
    """Write the experiment's initial weights as a bundle has them; return their hash."""
    weights = averaged_weights(experiment.initial_network())
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: value.clone() for name, value in weights.items()}, path)
    return hash_file(path)


def evaluation_job(folder: Path) -> Job:
    """Write a whole job into ``folder/evaluate``."""
    model = folder / "bundle" / EVALUATED_MODEL
    experiment = evaluating(write_model(model, tiny_experiment()))
    return write_job(load_evaluation(TEMPLATE, experiment, model), folder / "evaluate")
