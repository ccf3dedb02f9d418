"""Read a FLARE job folder, and make a copy of it for a certain set of sites and length of run."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fedgin.config import parse_settings
from fedgin.data.organ_names import check_organs
from fedgin.documents import read_json
from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.flare.jobs.application import check_checkpoint, check_configuration, read_settings
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.flare.jobs.configuration import first_round, flare_config
from fedgin.flare.jobs.evaluated_model import check_model
from fedgin.flare.jobs.files import APP, CLIENT_CONFIG, CONFIG, EXPERIMENT, FILES, META, SERVER_CONFIG, check_files
from fedgin.flare.jobs.meta import check_meta, make_meta, meta_name
from fedgin.flare.jobs.numbers import Numbers
from fedgin.folders import MARK, Mark, whole_folder
from fedgin.registry import check_choice
from fedgin.train.experiment import (
    EVALUATED_MODEL,
    MOST_EARLIER,
    EvaluatedModel,
    Experiment,
    load_experiment,
    with_changes,
)

# The name in meta.json of a job that a bundle completes.
TEMPLATE = "evaluate"


@dataclass(frozen=True)
class Job:
    """A job folder: ``meta.json`` and ``app/config/``.

    Attributes:
        folder: the job.
        experiment: its ``experiment.yaml``.
        rounds: the rounds that are trained; a resumed job's are those left. A job that evaluates has one.
        min_clients: updates without which a round is not closed.
        sites: that the job is for, by name; none when it is for all that are connected.
        times: waits and time-outs; its ``num_rounds`` and ``min_clients`` are those of the folder.
        weights: the file with the weights that the job carries, when it is not in ``folder``.
    """

    folder: Path
    experiment: Experiment
    rounds: int
    min_clients: int
    sites: tuple[str, ...] = ()
    times: Numbers = field(default=Numbers(num_rounds=1, min_clients=1))
    weights: Path | None = None

    @property
    def name(self) -> str:
        """Name of the folder, also of one that was given as ``.``."""
        return self.folder.resolve().name

    @property
    def evaluated(self) -> EvaluatedModel | None:
        """The model that the job scores; none for a job that trains."""
        return self.experiment.evaluates

    @property
    def first_round(self) -> int:
        """0, or the round in which a resumed job goes on."""
        return first_round(self.experiment)

    @property
    def numbers(self) -> Numbers:
        """What FLARE's configuration says beside what follows from the experiment.

        Raises:
            ConfigError: ``rounds`` or ``min_clients`` is out of its bounds.
        """
        values = self.times.model_dump() | {"num_rounds": self.rounds, "min_clients": self.min_clients}
        return parse_settings(values, Numbers, source=f"job {self.name}")


def load_job(folder: Path) -> Job:
    """Read and check the folder of a job that is to run.

    Raises:
        FedginError: as :func:`read_job`; there is no such folder, or an organ is misspelt.
    """
    if not folder.is_dir():
        _refuse_missing(folder)
    job = read_job(folder)
    check_organs(job.experiment.organs)
    return job


def _refuse_missing(folder: Path) -> NoReturn:
    """Name the jobs that stand where this one should."""
    if beside := [meta.parent.name for meta in folder.parent.glob(f"*/{META}")]:
        check_choice("job", dict.fromkeys(beside, ()), folder.name, ())
    raise ConfigError(f"{folder}: no such job folder", "copy a folder under jobs/")


def read_job(folder: Path) -> Job:
    """Read and check a job folder.

    Raises:
        FedginError: a file is missing, wrong or does not belong to a job.
    """
    job = read_finished_job(folder)
    check_checkpoint(folder / CONFIG / CHECKPOINT, job.experiment)
    return job


def read_finished_job(folder: Path) -> Job:
    """Read the folder of a job that ran; the checkpoint that it carries, if it was resumed, may be damaged since.

    Raises:
        FedginError: as :func:`read_job`.
    """
    check_files(folder, but=(MARK,))
    if (folder / CONFIG / SERVER_CONFIG).is_file() and not (folder / CONFIG / EXPERIMENT).exists():
        raise ConfigError(
            f"job {folder.resolve().name} has no {EXPERIMENT}",
            "start from a folder under jobs/; jobs/evaluate needs the bundle that it evaluates: --bundle BUNDLE",
        )
    application = read_settings(folder / APP)
    return _with_meta(folder, application.experiment, application.numbers, meta_name(application.experiment))


def load_evaluation(folder: Path, experiment: Experiment, model: Path) -> Job:
    """Read a job folder that has no experiment of its own, such as ``jobs/evaluate``, and complete it.

    Args:
        folder: with ``meta.json`` and FLARE's configuration.
        experiment: of the model, with ``evaluates``.
        model: the file with its weights, which stays where it is.

    Raises:
        FedginError: the folder is no such job, or the model is not the one that the experiment names.
    """
    check_files(folder, but=(MARK,))
    config = folder / CONFIG
    if any((config / name).exists() for name in (EXPERIMENT, EVALUATED_MODEL, CHECKPOINT)):
        raise ConfigError(
            f"job {folder.resolve().name} has an experiment of its own", "a bundle is evaluated with jobs/evaluate"
        )
    server, client = (read_json(config / name, source=name) for name in (SERVER_CONFIG, CLIENT_CONFIG))
    numbers = check_configuration(experiment, server, client)
    check_model(model, experiment)
    return replace(_with_meta(folder, experiment, numbers, TEMPLATE), weights=model)


def _with_meta(folder: Path, experiment: Experiment, numbers: Numbers, name: str) -> Job:
    found = read_json(folder / META, source=str(folder / META))
    if experiment.evaluates and isinstance(found, dict):
        least = {"min_clients": found.get("min_clients")}
        numbers = parse_settings(numbers.model_dump() | least, Numbers, source=META)
    sites = check_meta(found, name, numbers.min_clients)
    return Job(folder, experiment, numbers.num_rounds, numbers.min_clients, sites, numbers)


def staged_mark(job: Job) -> str:
    """Return what the mark of a staged job says, to the byte, so that a job can carry no other one."""
    files = sorted(name for name in FILES if (job.folder / name).is_file())
    return Mark(holds=held(job.experiment), files=tuple(files)).model_dump_json() + "\n"


def held(experiment: Experiment) -> str:
    """Return what the mark of a job's folder says that it holds."""
    resumes = experiment.resumes
    return f"the files of job {experiment.name}" if resumes is None else f"the rest of job {resumes.job}"


def stage_job(job: Job, target: Path, *, sites: int, rounds: int, changes: dict[str, Any]) -> Job:
    """Copy a job for a run with ``sites`` sites, all of which must answer in every round.

    Args:
        job: the original, which stays as it is.
        target: replaced when it is an earlier copy of the job.
        sites: number of sites; becomes ``min_clients``.
        rounds: the rounds of the run.
        changes: the changes to ``experiment.yaml``, as nested keys and values.

    Raises:
        ConfigError: the changed experiment is not valid; nothing is written then.
        FolderError: ``target`` holds something else.
    """
    values = with_changes(job.experiment.model_dump(mode="json"), changes)
    experiment = parse_settings(values, Experiment, source=f"changes to {job.name}")
    with whole_folder(target, holds=held(experiment)) as part:
        write_job(replace(job, experiment=experiment, rounds=rounds, min_clients=sites), part)
    return load_job(target)


def write_job(job: Job, target: Path) -> Job:
    """Write a job's files, and no other, into a new folder.

    FLARE deploys ``@ALL`` to whoever is connected when the job starts; with sites, who comes later does not take part.

    Args:
        job: its ``experiment.yaml`` is copied as it is unless ``job.experiment`` is another.
        target: made when it is missing.

    Raises:
        ConfigError: a number of the job is out of its bounds.
    """
    source, config = job.folder / CONFIG, target / CONFIG
    same = (source / EXPERIMENT).exists() and load_experiment(source / EXPERIMENT) == job.experiment
    made = _flare_files(job)
    config.mkdir(parents=True)
    if same:
        shutil.copyfile(source / EXPERIMENT, config / EXPERIMENT)
    else:
        values = job.experiment.model_dump(mode="json")
        write_text(config / EXPERIMENT, yaml.safe_dump(values, sort_keys=False))
    for name in _carried(job.experiment):
        shutil.copyfile(job.weights or source / name, config / name)
    for name, content in made.items():
        write_text(target / name, json.dumps(content, indent=2) + "\n")
    return read_job(target)


def _flare_files(job: Job) -> dict[str, dict[str, Any]]:
    server, client = flare_config(job.experiment, job.numbers)
    return {
        f"{CONFIG}/{SERVER_CONFIG}": server,
        f"{CONFIG}/{CLIENT_CONFIG}": client,
        META: make_meta(meta_name(job.experiment), job.min_clients, job.sites),
    }


def _carried(experiment: Experiment) -> list[str]:
    """Return the names of the weights that a job carries: of one file at most."""
    return [CHECKPOINT] * (experiment.resumes is not None) + [EVALUATED_MODEL] * (experiment.evaluates is not None)


def stage_resumed(job: Job, job_id: str, checkpoint: Path, target: Path) -> Job:
    """Copy a job that ended early, to go on after the round of its checkpoint.

    Args:
        job: as it was submitted.
        job_id: FLARE's.
        checkpoint: as :func:`fedgin.flare.server.checkpoint_keeper.CheckpointKeeper` wrote it.
        target: replaced when it is the rest of the same job.

    Raises:
        FolderError: ``target`` holds something else.
        WeightsError: the checkpoint is missing or damaged.
        ConfigError: it is of another job.
    """
    jobs = [job_id, *(job.experiment.resumes.jobs if job.experiment.resumes else ())]
    if len(jobs) > 1 and not checkpoint.is_file():
        # A resumed job of which nothing was kept is repeated: it carries the checkpoint that it began with.
        jobs, checkpoint = jobs[1:], job.folder / CONFIG / CHECKPOINT
    start = read_round(checkpoint) + 1
    left = job.first_round + job.rounds - start
    if left < 1:
        raise ConfigError(f"the checkpoint is of the last round of job {jobs[0]}", "restore what the server kept")
    resumes = {"job": jobs[0], "round": start, "earlier": jobs[1 : MOST_EARLIER + 1]}
    values = job.experiment.model_dump(mode="json") | {"resumes": resumes}
    experiment = parse_settings(values, Experiment, source=f"resumed {job.name}")
    with whole_folder(target, holds=held(experiment)) as part:
        write_job(replace(job, experiment=experiment, rounds=left, weights=checkpoint), part)
    return read_job(target)
