"""Write the folder of a job that did not exist before."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fedgin.files import write_text
from fedgin.flare.jobs.files import CONFIG, EXPERIMENT
from fedgin.flare.jobs.job import Job, held, load_job, write_job
from fedgin.folders import whole_folder
from fedgin.train.experiment import Experiment

# As in the jobs that this package ships.
ROUNDS = 20


def write_new_job(target: Path, experiment: Experiment, text: str, sites: Sequence[str], *, overwrite: bool) -> Job:
    """Write a job that needs every one of its sites in every round.

    Args:
        target: the folder, which is made.
        experiment: of the job.
        text: the same as ``experiment.yaml``, with its comments.
        sites: that it is for, by name.
        overwrite: whether an earlier job there that this program wrote is replaced.

    Raises:
        FolderError: ``target`` holds something else.
        ConfigError: a number of the job is out of its bounds.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fedgin-") as drafts,
        whole_folder(target, holds=held(experiment), overwrite=overwrite) as part,
    ):
        draft = Path(drafts)
        write_text(draft / CONFIG / EXPERIMENT, text)
        write_job(Job(draft, experiment, ROUNDS, len(sites), tuple(sites)), part)
    return load_job(target)
