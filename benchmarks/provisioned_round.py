"""Seconds that FLARE adds to a round of a provisioned federation: with its default settings, our jobs', encryption.

    python -m benchmarks.provisioned_round --rounds 6

A server and three small sites run as processes with mutual TLS on loopback. A round's length is the time between two
"Round N started" of the server's log; the slowest site's training alone is taken off. The first round is left out.
The large network is not encrypted: its ciphertexts do not fit into the memory of the machines that this is made for.
"""

import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks._rounds import CHANNELS, block_sites, count_weights, round_seconds, stage_blocks
from benchmarks.flare_round import slowest_site
from fedgin.flare.jobs.job import Job, write_job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import connect, submit
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.outcome import read_outcome
from poc.federation import LocalFederation, provision, running

SITES = ("ct-a", "ct-b", "mr-a")
# FLARE's defaults of what our jobs set: seconds between a site's questions for a task, seconds between the server's
# looks at the answers. How often the server collects garbage, which takes it 0.2 s, is the same in all jobs.
DEFAULTS = {"task_request_interval": 2.0, "task_check_period": 0.5}
SMALL, LARGE = 2, 30


def main(rounds: Annotated[int, typer.Option(min=4, help="Rounds of each run.")] = 6) -> None:
    """Measure both networks with each setting and print a table."""
    table = Table("parameters", "settings", "round in FLARE", "slowest site alone", "FLARE adds")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sites = block_sites(folder, SITES)
        with running(provision(sites, folder / "federation", encryption_key=1), list(sites)) as federation:
            for size in (SMALL, LARGE):
                job = _stage("abdomen_fedgin", folder / "job", size, rounds)
                alone = slowest_site(job, sites, folder / "alone")
                jobs = {"FLARE's": _with_defaults(job, folder / "default"), "ours": job}
                if size == SMALL:
                    jobs["ours, encrypted"] = _stage("abdomen_fedgin_encrypted", folder / "he", size, rounds)
                for settings, chosen in jobs.items():
                    in_flare = _round_in_flare(federation, chosen, folder / "result")
                    table.add_row(
                        _size(job), settings, *(f"{value:.2f} s" for value in (in_flare, alone, in_flare - alone))
                    )
    Console().print(table)


def _stage(name: str, target: Path, size: int, rounds: int) -> Job:
    return stage_blocks(name, target, CHANNELS[size], sites=len(SITES), rounds=rounds)


def _with_defaults(job: Job, target: Path) -> Job:
    """Copy a job without the settings that make rounds short."""
    shutil.rmtree(target, ignore_errors=True)
    return write_job(replace(job, times=job.times.model_copy(update=DEFAULTS)), target)


def _round_in_flare(federation: LocalFederation, job: Job, out: Path) -> float:
    """Return the mean seconds of a round after the first."""
    with connect(federation.admin(Role.LEAD)) as session:
        job_id = submit(session, job)
        follow(session, job_id, on_status=lambda text: None, on_round=lambda metrics: None)
        result = fetch(session, job_id, out)
    read_outcome(result).check()
    log = (result.folder / "log.txt").read_text(encoding="utf-8")
    return statistics.mean(round_seconds(log)[1:])


def _size(job: Job) -> str:
    return f"{count_weights(job) / 1e6:.1f} million"


if __name__ == "__main__":
    typer.run(main)
