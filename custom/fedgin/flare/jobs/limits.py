"""Whether a job keeps to what a site allows: asked before it is deployed there, and again when it starts."""

from collections.abc import Mapping

from fedgin.data.limits import LimitError, Limits
from fedgin.data.site import SiteContract
from fedgin.errors import PrivacyError
from fedgin.flare.jobs.application import Application
from fedgin.train.experiment import Experiment


def check_allowed(contract: SiteContract, application: Application, parameters: int) -> None:
    """Compare what a job asks for, and what its server could read, with what the site allows.

    Args:
        contract: of the site.
        application: of the job.
        parameters: weights of its network, as :func:`fedgin.flare.jobs.installed.count_parameters` counts them.

    Raises:
        LimitError: see :func:`check_limits`.
        PrivacyError: the site takes part in encrypted jobs only. A fingerprint has a consent of its own.
    """
    check_limits(contract.limits, application, parameters)
    experiment = application.experiment
    wanted = contract.privacy is not None and contract.privacy.encrypted_jobs_only
    if wanted and not experiment.collects and not experiment.federation.homomorphic_encryption:
        raise PrivacyError(f"site {contract.site} takes part in encrypted jobs only", "submit an encrypted job")


def check_limits(limits: Limits, application: Application, parameters: int) -> None:
    """Compare what a job asks for with what the site allows.

    Args:
        limits: of the site.
        application: of the job.
        parameters: see :func:`check_allowed`.

    Raises:
        LimitError: the site pauses, or the job is too large; names every number that is.
    """
    if limits.pause:
        raise LimitError(
            "the site takes part in no job for now", "ask the site when it goes on; 'limits.pause' of its site.yaml"
        )
    above = [
        f"{name} {asked:,} (at most {most:,})"
        for name, asked in _asked(application, parameters).items()
        if asked > (most := getattr(limits, name))
    ]
    if above:
        raise LimitError(
            f"the job is larger than the site allows: {', '.join(above)}",
            "make it smaller, or ask the site to raise 'limits' in its site.yaml",
        )


def _asked(application: Application, parameters: int) -> Mapping[str, int]:
    experiment = application.experiment
    if experiment.collects:
        return {}
    asked = {"parameters": parameters, "batch_pixels": batch_pixels(experiment)}
    if experiment.evaluates:  # what the bundle was trained with costs the site nothing
        return asked
    if not experiment.training.local_epochs:  # else the site knows when it has prepared its cases
        asked["local_steps"] = experiment.training.steps
    return asked | {"rounds": application.numbers.num_rounds}


def batch_pixels(experiment: Experiment) -> int:
    """Return the number of pixels in a batch."""
    pixels = experiment.training.batch_size
    for side in experiment.preprocessing.size:
        pixels *= side
    return pixels
