"""Wall time of a whole provisioned run beside the slowest site's own training and validation in the same run.

    python -m benchmarks.provisioned_run --rounds 20

A server and the demo's three sites of phantoms run as processes with mutual TLS on loopback. Each site notes how long
its tasks take (:mod:`benchmarks._stopwatch`). The run is what a lead waits for: from the submission to the end of the
final evaluation. What it takes longer than the site that worked longest is the start of the processes, FLARE, and the
rounds in which another site was the slowest.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import _stopwatch
from benchmarks._instead import TRAINER, instead
from benchmarks._rounds import JOBS, round_seconds
from benchmarks._stopwatch import read_seconds
from fedgin.cli.phantoms import write_demo_sites
from fedgin.data.site import load_site
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import connect, submit
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.outcome import read_outcome
from fedgin.phantoms.task import Task
from poc.federation import LocalFederation, provision, running

GOAL = 1.10


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a site in a round.")] = 80,
) -> None:
    """Run the job and print how long it took, and its sites.

    Example: python -m benchmarks.provisioned_run --rounds 20 --steps 80
    """
    console = Console(soft_wrap=True)
    os.environ |= instead({TRAINER: _stopwatch})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        notes = folder / "seconds"
        notes.mkdir()
        os.environ[_stopwatch.FOLDER] = str(notes)
        write_demo_sites(folder / "data", Task.ABDOMEN, 42, console)
        sites = {path.parent.name: load_site(path) for path in sorted((folder / "data").glob("*/site.yaml"))}
        changes = {"training": {"local_steps": steps}}
        job = load_job(JOBS / "abdomen_fedgin")
        job = stage_job(job, folder / "job", sites=len(sites), rounds=rounds, changes=changes)
        with running(provision(sites, folder / "federation"), list(sites)) as federation:
            wall, between = _run(federation, job, folder / "result")
        spent = {name: read_seconds((notes / name).read_text(encoding="utf-8")) for name in sites}
    _print(console, wall, between, spent)


def _run(federation: LocalFederation, job: Job, out: Path) -> tuple[float, float]:
    """Return the seconds of the whole run, and those between the starts of the first round and of the last one."""
    started = time.monotonic()
    with connect(federation.admin(Role.LEAD)) as session:
        job_id = submit(session, job)
        follow(session, job_id, on_status=print, on_round=lambda done: print(f"round {done.number + 1}", flush=True))
        wall = time.monotonic() - started
        result = fetch(session, job_id, out)
    read_outcome(result).check()
    return wall, sum(round_seconds((result.folder / "log.txt").read_text(encoding="utf-8")))


def slowest(spent: Mapping[str, Mapping[str, float]]) -> float:
    """Return the seconds of all tasks of the site that worked longest."""
    return max(sum(kinds.values()) for kinds in spent.values())


def _print(console: Console, wall: float, between: float, spent: Mapping[str, Mapping[str, float]]) -> None:
    table = Table("site", "rounds, s", "final evaluation, s")
    for name, kinds in spent.items():
        final = sum(seconds for kind, seconds in kinds.items() if kind != "train")
        table.add_row(name, f"{kinds['train']:.1f}", f"{final:.1f}")
    console.print(table)
    alone = slowest(spent)
    console.print(f"whole run {wall:.1f} s, of which {between:.1f} s from the first round's start to the last one's")
    console.print(
        f"slowest site alone {alone:.1f} s: {wall / alone:.3f} times, {wall - alone:.1f} s more (goal {GOAL})"
    )


if __name__ == "__main__":
    typer.run(main)
