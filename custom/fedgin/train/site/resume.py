"""The folder of a site's session: whose it is, and what it takes over from the job that is resumed."""

import hashlib
import json
import shutil
from pathlib import Path

from fedgin.errors import ConfigError, DataError
from fedgin.files import PART, write_text
from fedgin.folders import MARK, whole_folder
from fedgin.train.experiment import Experiment, Resumed

# In the folder of a session: the hash of its experiment.
MADE_BY = "experiment.sha256"


def open_folder(experiment: Experiment, folder: Path, runs: Path) -> None:
    """Make the folder of a session and write down whose it is; a resumed run gets a copy of the earlier job's.

    A job that was resumed before has several earlier ones: the latest counts of which the site has anything, because it
    may have been away since. The earlier job's folder stays as it is. With its optimiser state, local model and staying
    weights and the global model a resumed run equals the uninterrupted one: every random stream is derived from seed,
    site and round.

    A job says itself which one it resumes. So the earlier one must be of the same experiment: another one, without
    encryption or without layers that stay, would send what that one has kept here.

    Args:
        experiment: the experiment of the job.
        folder: the folder of the session; used as it is where this run has it already.
        runs: has a folder for each run of the site; a session's folder has the same name in each.

    Raises:
        ConfigError: the site has nothing of the earlier job, or it is of another experiment.
        DataError: the folder cannot be written.
    """
    if not folder.exists() and experiment.resumes is not None:
        _adopt(experiment, experiment.resumes, folder, runs)
    if _is_empty(folder):
        _claim(folder / MADE_BY, experiment)
    elif not _is_of(experiment, folder):
        raise _another(folder.parent.name)


def _is_empty(folder: Path) -> bool:
    """Tell whether nothing is kept there; what a killed process had half written is nothing."""
    return not folder.is_dir() or all(path.name.startswith(PART) for path in folder.iterdir())


def _claim(made_by: Path, experiment: Experiment) -> None:
    try:
        made_by.parent.mkdir(parents=True, exist_ok=True)
        write_text(made_by, _digest(experiment))
    except OSError:
        fix = "free disk space and check the permissions of the site's kit"
        raise DataError(f"{made_by.name} of the job cannot be written", fix) from None


def _adopt(experiment: Experiment, resumes: Resumed, folder: Path, runs: Path) -> None:
    job = next((job for job in resumes.jobs if (runs / job / folder.name).is_dir()), None)
    if job is None:
        raise ConfigError(
            f"this site has nothing of job {resumes.job}, which is to be resumed",
            f"restore the folder {resumes.job} of the site's kit, or submit the job anew with 'fedgin run'",
        )
    earlier = runs / job / folder.name
    if not _is_of(experiment, earlier):
        raise _another(job)
    with whole_folder(folder, holds=f"what resumes job {job}") as part:
        shutil.copytree(earlier, part, ignore=shutil.ignore_patterns(MARK), dirs_exist_ok=True)


def _is_of(experiment: Experiment, folder: Path) -> bool:
    try:
        return (folder / MADE_BY).read_text(encoding="utf-8") == _digest(experiment)
    except (OSError, UnicodeDecodeError):
        return False


def _another(job: str) -> ConfigError:
    return ConfigError(
        f"what this site has kept of job {job} is of another experiment",
        "resume the job with 'fedgin resume', or submit it anew with 'fedgin run'",
    )


def _digest(experiment: Experiment) -> str:
    """Hash an experiment: the same for a job and for those that resume it."""
    text = json.dumps(experiment.model_dump(mode="json", exclude={"resumes"}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
