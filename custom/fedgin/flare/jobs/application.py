"""Read the application of a job, the part that every participant gets: whatever does not belong to it is refused."""

from dataclasses import dataclass
from pathlib import Path

from fedgin.documents import read_json
from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.flare.jobs.comparison import check_same
from fedgin.flare.jobs.configuration import flare_config
from fedgin.flare.jobs.evaluated_model import check_model
from fedgin.flare.jobs.files import APP, CLIENT_CONFIG, EXPERIMENT, SERVER_CONFIG, check_files
from fedgin.flare.jobs.numbers import FIX, Numbers, read_numbers
from fedgin.train.experiment import EVALUATED_MODEL, Experiment, load_experiment


@dataclass(frozen=True)
class Application:
    """What a job's application says.

    Attributes:
        experiment: its ``experiment.yaml``.
        numbers: of its ``config_fed_server.json``; everything else in FLARE's files follows from the experiment.
    """

    experiment: Experiment
    numbers: Numbers


def read_application(app: Path) -> Application:
    """Read and check an application; nothing of it is imported, built or run.

    Args:
        app: the folder with ``config`` in it, in a job or where FLARE deployed it.

    Raises:
        FedginError: a file is missing, wrong or does not belong there; names the first.
    """
    read = read_settings(app)
    check_checkpoint(app / "config" / CHECKPOINT, read.experiment)
    return read


def read_settings(app: Path) -> Application:
    """Read an application without the checkpoint that a resumed job carries, which may be damaged since the job ran.

    Raises:
        FedginError: as :func:`read_application`.
    """
    check_files(app, below=APP)
    config = app / "config"
    experiment = load_experiment(config / EXPERIMENT)
    experiment.check_names()
    server, client = (read_json(config / name, source=name) for name in (SERVER_CONFIG, CLIENT_CONFIG))
    numbers = check_configuration(experiment, server, client)
    check_model(config / EVALUATED_MODEL, experiment)
    return Application(experiment, numbers)


def check_configuration(experiment: Experiment, server: object, client: object) -> Numbers:
    """Compare FLARE's configuration with the one that follows from the experiment, and return its numbers.

    Raises:
        ConfigError: it is another one; names each place.
    """
    kinds = {"evaluates": experiment.evaluates is not None, "collects": experiment.collects is not None}
    numbers = read_numbers(server, **kinds)
    made_server, made_client = flare_config(experiment, numbers)
    check_same(server, made_server, source=SERVER_CONFIG, fix=FIX)
    check_same(client, made_client, source=CLIENT_CONFIG, fix=FIX)
    return numbers


def check_checkpoint(checkpoint: Path, experiment: Experiment) -> None:
    """Check that a job carries the checkpoint that it resumes, and no other.

    Raises:
        WeightsError: the file is missing or damaged.
        ConfigError: it is of another round, or the job resumes nothing.
    """
    if experiment.resumes is None:
        if checkpoint.exists():
            raise ConfigError(
                f"the job carries '{CHECKPOINT}', but resumes nothing", "resume a job with 'fedgin resume'"
            )
    elif read_round(checkpoint) + 1 != experiment.resumes.round:
        raise ConfigError(f"{CHECKPOINT} is not of the round before 'resumes.round'", "use 'fedgin resume'")
