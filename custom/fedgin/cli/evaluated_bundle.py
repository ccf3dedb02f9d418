"""The job that a lead names, completed by the bundle that it evaluates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedgin.flare.jobs.job import Job

EvaluatedBundle = Annotated[
    Path | None, typer.Option("--bundle", help="Bundle that jobs/evaluate scores, as `fedgin export` wrote it.")
]


def read_job(job: Path, bundle: Path | None) -> "Job":
    """Read a job folder; with a bundle, one that has no experiment of its own.

    Raises:
        FedginError: the job or the bundle is not sound, or they do not belong together.
    """
    from fedgin.flare.jobs.job import load_evaluation, load_job

    if bundle is None:
        return load_job(job)
    from fedgin.config import parse_settings
    from fedgin.deploy.bundle import WEIGHTS, bundle_name, load_bundle
    from fedgin.train.experiment import Experiment

    loaded = load_bundle(bundle)
    loaded.network()  # whole, unchanged and of this network: better known here than from every site
    evaluated = {
        "name": bundle_name(loaded.provenance),
        "sha256": loaded.sha256,
        "modalities": loaded.provenance.modalities,
    }
    values = loaded.experiment.model_dump(mode="json") | {"resumes": None, "evaluates": evaluated}
    experiment = parse_settings(values, Experiment, source=f"bundle {bundle.name}")
    return load_evaluation(job, experiment, bundle / WEIGHTS)
