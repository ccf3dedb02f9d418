"""Collect the fingerprints of the sites that are connected and have agreed to it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from fedgin.flare.collection import Collection, read_collection
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.console import ConsoleError, Session, connected_sites, submit
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.outcome import read_outcome
from fedgin.train.experiment import Experiment

NAME = "fingerprints"


def collect_fingerprints(session: Session, *, on_status: Callable[[str], None]) -> Collection:
    """Ask every connected site once; nothing is trained or measured for it.

    Args:
        session: of a person who may submit jobs.
        on_status: called with each status of the job, and with who refused.

    Raises:
        ConsoleError: no site is connected, or the job did not end well.
    """
    sites = tuple(connected_sites(session))
    if not sites:
        raise ConsoleError("no site is connected", "let the sites start their clients, then ask again")
    experiment = Experiment(name=NAME, collects="fingerprints")
    job_id = submit(session, Job(Path(NAME), experiment, rounds=1, min_clients=len(sites), sites=sites))
    follow(session, job_id, on_status=on_status, on_round=lambda metrics: None)
    with tempfile.TemporaryDirectory(prefix="fedgin-") as place:
        result = fetch(session, job_id, Path(place) / NAME)
        read_outcome(result).check()
        return read_collection(result.folder)
