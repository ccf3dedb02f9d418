"""Read a FLARE job folder, and make a copy of it for a certain set of sites and length of run."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nvflare.apis.job_def import ALL_SITES, SERVER_SITE_NAME

from fedgin.config import merged, parse_settings
from fedgin.documents import read_json
from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.flare.jobs.encrypted_job import check_encryption
from fedgin.folders import MARK, whole_folder
from fedgin.train.experiment import Experiment, load_experiment

# The one application of a job, by the name of its folder.
APP = "app"
CONTROLLER = "nvflare.app_common.workflows.scatter_and_gather.ScatterAndGather"


@dataclass(frozen=True)
class Job:
    """A job folder: ``meta.json`` and ``app/config/``.

    Attributes:
        folder: the job.
        experiment: its ``experiment.yaml``.
        first_round: 0, or the round in which a resumed job goes on.
        rounds: the rounds of its ScatterAndGather controller; a resumed job's are those left.
        min_clients: updates without which a round is not closed.
        sites: that the job is for, by name; none when it is for all that are connected.
    """

    folder: Path
    experiment: Experiment
    rounds: int
    min_clients: int
    first_round: int = 0
    sites: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder, also of one that was given as ``.``."""
        return self.folder.resolve().name


def load_job(folder: Path) -> Job:
    """Read and check a job folder.

    Raises:
        ConfigError: a file is missing or wrong, or the folder carries code.
    """
    if os.path.lexists(folder / "app" / "custom"):
        raise ConfigError(
            f"{folder.name}: the job carries code in app/custom", "install code at the sites; a job is data"
        )
    server = _read_object(_server_config(folder))
    controller = _controller(server, folder.name)
    sites = _named_sites(_read_object(folder / "meta.json"), folder.name)
    experiment = load_experiment(folder / "app" / "config" / "experiment.yaml")
    client = _read_object(folder / "app" / "config" / "config_fed_client.json")
    check_encryption(client, server, encrypted=experiment.federation.homomorphic_encryption)
    args = controller["args"]
    first = int(args.get("start_round", 0))
    if first != (experiment.resumes.round if experiment.resumes else 0):
        raise ConfigError(
            f"{folder.name}: start_round of the server and 'resumes' of experiment.yaml differ", "use 'fedgin resume'"
        )
    return Job(folder, experiment, args["num_rounds"], args["min_clients"], first, sites)


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
    values = merged(job.experiment.model_dump(mode="json"), changes)
    parse_settings(values, Experiment, source=f"changes to {job.name}")
    with whole_folder(target, holds=f"a staged copy of job {job.name}") as part:
        copy_job(job, part)
        _change_controller(part, min_clients=sites, num_rounds=rounds)
        _change_meta(part, min_clients=sites)
        write_text(part / "app" / "config" / "experiment.yaml", yaml.safe_dump(values, sort_keys=False))
    return load_job(target)


def copy_job(job: Job, target: Path) -> Path:
    """Copy a job's folder without what only says whose copy it is: our mark, FLARE's signatures; return ``target``."""
    ignored = shutil.ignore_patterns(MARK, ".__nvfl_*")
    return Path(shutil.copytree(job.folder, target, ignore=ignored, dirs_exist_ok=True))


def name_sites(job: Job, copy: Path) -> None:
    """Write the sites of a job and its ``min_clients`` into a copy of its folder.

    FLARE deploys ``@ALL`` to whoever is connected when the job starts; with names, who comes later does not take part.
    """
    _change_controller(copy, min_clients=job.min_clients)
    named = {"deploy_map": {APP: [SERVER_SITE_NAME, *job.sites]}} if job.sites else {}
    _change_meta(copy, min_clients=job.min_clients, **named)


def read_min_clients(server_config: Path) -> int:
    """Return the updates that a round of the job needs.

    Args:
        server_config: ``config_fed_server.json`` of a job, also where FLARE deployed it.

    Raises:
        ConfigError: missing, or without a number.
    """
    return int(_controller(_read_object(server_config), server_config.parent.name)["args"]["min_clients"])


def stage_resumed(job: Job, job_id: str, checkpoint: Path, target: Path) -> Job:
    """Copy a job that ended early, to go on after the round of its checkpoint.

    Args:
        job: as it was submitted.
        job_id: FLARE's.
        checkpoint: as :func:`fedgin.flare.jobs.checkpoint.keep_checkpoint` wrote it.
        target: replaced when it is the rest of the same job.

    Raises:
        FolderError: ``target`` holds something else.
        WeightsError: the checkpoint is missing or damaged.
        ConfigError: it is of another job.
    """
    earlier = job.experiment.resumes
    if earlier is not None and not checkpoint.is_file():
        # A resumed job of which nothing was kept is repeated: it carries the checkpoint that it began with.
        job_id, checkpoint = earlier.job, job.folder / "app" / "config" / CHECKPOINT
    start = read_round(checkpoint) + 1
    left = job.first_round + job.rounds - start
    if left < 1:
        raise ConfigError(f"the checkpoint is of the last round of job {job_id}", "restore what the server kept")
    values = job.experiment.model_dump(mode="json") | {"resumes": {"job": job_id, "round": start}}
    with whole_folder(target, holds=f"the rest of job {job_id}") as part:
        copy_job(job, part)
        _change_controller(part, start_round=start, num_rounds=left)
        write_text(part / "app" / "config" / "experiment.yaml", yaml.safe_dump(values, sort_keys=False))
        shutil.copyfile(checkpoint, part / "app" / "config" / CHECKPOINT)
    return load_job(target)


def _server_config(folder: Path) -> Path:
    return folder / "app" / "config" / "config_fed_server.json"


def _change_controller(folder: Path, **args: int) -> None:
    """Write new arguments; a file that has them already stays byte for byte, and with it the hash of the job."""
    server = _read_object(_server_config(folder))
    found = _controller(server, folder.name)["args"]
    if found | args != found:
        found |= args
        write_text(_server_config(folder), json.dumps(server, indent=2) + "\n")


def _change_meta(folder: Path, **changes: object) -> None:
    meta = _read_object(folder / "meta.json") | changes
    write_text(folder / "meta.json", json.dumps(meta, indent=2) + "\n")


def _named_sites(meta: dict[str, Any], job: str) -> tuple[str, ...]:
    deployed = meta.get("deploy_map")
    names = deployed.get(APP) if isinstance(deployed, dict) and len(deployed) == 1 else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{job}: deploy_map of meta.json is not {{'{APP}': [names]}}", "start from a folder under jobs/"
        )
    return () if names == [ALL_SITES] else tuple(sorted(set(names) - {SERVER_SITE_NAME}))


def _controller(server: dict[str, Any], job: str) -> dict[str, Any]:
    workflows = server.get("workflows")
    for workflow in workflows if isinstance(workflows, list) else []:
        if _is_controller(workflow):
            found: dict[str, Any] = workflow
            return found
    raise ConfigError(
        f"{job}: config_fed_server.json has no ScatterAndGather with num_rounds and min_clients of 1 or more",
        "start from a folder under jobs/",
    )


def _is_controller(workflow: object) -> bool:
    if not isinstance(workflow, dict) or workflow.get("path") != CONTROLLER:
        return False
    args = workflow.get("args")
    counts = [args.get(key) for key in ("num_rounds", "min_clients")] if isinstance(args, dict) else [None]
    return all(isinstance(count, int) and not isinstance(count, bool) and count >= 1 for count in counts)


def _read_object(path: Path) -> dict[str, Any]:
    values = read_json(path, source=str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object", "start from a folder under jobs/")
    return values
