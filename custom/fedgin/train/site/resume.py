"""Go on with what a site kept of the job that is resumed."""

import shutil
from pathlib import Path

from fedgin.errors import ConfigError
from fedgin.folders import MARK, whole_folder
from fedgin.train.experiment import Experiment


def adopt_earlier_run(experiment: Experiment, folder: Path, runs: Path) -> None:
    """Copy optimiser state, local model and staying weights of the earlier job, unless this run has its own already.

    The earlier job's folder stays as it is. With these and the global model a resumed run equals the uninterrupted one:
    every random stream is derived from seed, site and round.

    Args:
        experiment: the experiment of the resumed job; without ``resumes`` nothing is done.
        folder: the folder of the session.
        runs: has a folder for each run of the site; a session's folder has the same name in each.

    Raises:
        ConfigError: the site has nothing of the earlier job.
    """
    if experiment.resumes is None or folder.exists():
        return
    earlier = runs / experiment.resumes.job / folder.name
    if not earlier.is_dir():
        raise ConfigError(
            f"this site has nothing of job {experiment.resumes.job}, which is to be resumed",
            f"restore the folder {experiment.resumes.job} of the site's kit, or submit the job anew with 'fedgin run'",
        )
    with whole_folder(folder, holds=f"what resumes job {experiment.resumes.job}") as part:
        shutil.copytree(earlier, part, ignore=shutil.ignore_patterns(MARK), dirs_exist_ok=True)
