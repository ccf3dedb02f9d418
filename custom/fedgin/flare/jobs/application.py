"""Read the application of a job, the part that every participant gets: whatever does not belong to it is refused."""

from dataclasses import dataclass
from pathlib import Path

from fedgin.documents import read_json
from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.flare.jobs.comparison import check_same
from fedgin.flare.jobs.configuration import client_config, server_config
from fedgin.flare.jobs.files import APP, CLIENT_CONFIG, EXPERIMENT, SERVER_CONFIG, check_files
from fedgin.flare.jobs.numbers import FIX, Numbers, read_numbers
from fedgin.train.experiment import Experiment, load_experiment


@dataclass(frozen=True)
class Application:
    """What a job's application says.

    Attributes:
        experiment: its ``experiment.yaml``.
        numbers: of its ``config_fed_server.json``; everything else in FLARE's files follows from the experiment.
    """

    experiment: Experiment
    numbers: Numbers


def first_round(experiment: Experiment) -> int:
    """Return the round, counted from 0, in which a job begins."""
    return experiment.resumes.round if experiment.resumes else 0


def read_application(app: Path) -> Application:
    """Read and check an application; nothing of it is imported, built or run.

    Args:
        app: the folder with ``config`` in it, in a job or where FLARE deployed it.

    Raises:
        FedginError: a file is missing, wrong or does not belong there; names the first.
    """
    check_files(app, below=APP)
    config = app / "config"
    experiment = load_experiment(config / EXPERIMENT)
    experiment.check_names()
    server, client = (read_json(config / name, source=name) for name in (SERVER_CONFIG, CLIENT_CONFIG))
    numbers = check_configuration(experiment, server, client)
    _check_checkpoint(config / CHECKPOINT, experiment)
    return Application(experiment, numbers)


def check_configuration(experiment: Experiment, server: object, client: object) -> Numbers:
    """Compare FLARE's configuration with the one that follows from the experiment, and return its numbers.

    Raises:
        ConfigError: it is another one; names each place.
    """
    numbers = read_numbers(server)
    encrypted = experiment.federation.homomorphic_encryption
    made = server_config(numbers, first_round=first_round(experiment), encrypted=encrypted)
    check_same(server, made, source=SERVER_CONFIG, fix=FIX)
    check_same(client, client_config(encrypted=encrypted), source=CLIENT_CONFIG, fix=FIX)
    return numbers


def _check_checkpoint(checkpoint: Path, experiment: Experiment) -> None:
    if experiment.resumes is None:
        if checkpoint.exists():
            raise ConfigError(
                f"the job carries '{CHECKPOINT}', but resumes nothing", "resume a job with 'fedgin resume'"
            )
    elif read_round(checkpoint) + 1 != experiment.resumes.round:
        raise ConfigError(f"{CHECKPOINT} is not of the round before 'resumes.round'", "use 'fedgin resume'")
