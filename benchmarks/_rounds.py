"""Rounds of a provisioned federation, as FLARE's log of the server tells of them, and jobs that are small enough."""

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fedgin.data.site import SiteContract, load_site
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import ConsoleError, Session, abort, connect, job_record, job_status, submit
from fedgin.flare.server.job_manager import has_ended
from fedgin.phantoms.blocks import EXPERIMENT, write_block_site
from poc.federation import SERVER, LocalFederation

JOBS = Path(__file__).resolve().parents[1] / "jobs"
# Of a U-Net by its weights, in millions.
CHANNELS = {2: [18, 36, 72, 144, 288], 30: [70, 140, 280, 560, 1120], 100: [126, 252, 504, 1008, 2016]}
STARTED = re.compile(r"^(\S+ \S+) .*Round \d+ started", re.MULTILINE)
POLL_SECONDS = 0.2
# FLARE would try for ever; a round of the largest model over the slowest line takes a quarter of an hour.
PATIENCE_SECONDS = 7200.0


def block_sites(folder: Path, names: Sequence[str]) -> dict[str, SiteContract]:
    """Write sites of block phantoms, every third one MR."""
    kinds = ["MR" if number % 3 == 2 else "CT" for number in range(len(names))]
    return {
        name: load_site(write_block_site(folder / name, name, kind)) for name, kind in zip(names, kinds, strict=True)
    }


def stage_blocks(
    name: str,
    target: Path,
    channels: Sequence[int],
    *,
    sites: int,
    rounds: int,
    federation: Mapping[str, Any] | None = None,
) -> Job:
    """Copy one of our jobs for block phantoms, with a U-Net of these channels and changes to its ``federation``."""
    changes = {key: EXPERIMENT[key] for key in ("organs", "preprocessing", "training")}
    network = {"name": "unet", "params": {"channels": list(channels)}}
    changes |= {"network": network, "federation": dict(federation or {})}
    return stage_job(load_job(JOBS / name), target, sites=sites, rounds=rounds, changes=changes)


def count_weights(job: Job) -> int:
    """Return the number of weights of a job's network."""
    return sum(value.numel() for value in job.experiment.initial_network().parameters())


def round_seconds(log: str) -> list[float]:
    """Return the seconds between the starts of rounds, in order, of the log of a job at the server."""
    starts = [datetime.strptime(found, "%Y-%m-%d %H:%M:%S,%f") for found in STARTED.findall(log)]
    return [(after - before).total_seconds() for before, after in itertools.pairwise(starts)]


def run_rounds(
    federation: LocalFederation, job: Job, *, at_start: Callable[[], None], at_end: Callable[[], None]
) -> list[float]:
    """Run all rounds of a job but its last, in whose place it is aborted: what comes after rounds is not measured.

    Args:
        federation: runs.
        job: of two rounds or more.
        at_start: called when the first round has started.
        at_end: called when the last round has started.

    Returns:
        The seconds of each round.
    """
    with connect(federation.admin(Role.LEAD)) as session:
        job_id = submit(session, job)
        log = federation.kit(SERVER) / job_id / "log.txt"
        _wait(session, job_id, log, 1)
        at_start()
        _wait(session, job_id, log, job.rounds)
        at_end()
        seconds = round_seconds(log.read_text(encoding="utf-8"))  # FLARE takes the folder away when the job ends
        abort(session, job_id)
    return seconds


def _wait(session: Session, job_id: str, log: Path, rounds: int) -> None:
    """Wait until so many rounds have started; look at the job itself now and then, which may have failed."""
    end = time.monotonic() + PATIENCE_SECONDS
    for tries in itertools.count(1):
        if time.monotonic() > end:
            raise SystemExit(f"round {rounds} did not begin in {PATIENCE_SECONDS / 60:.0f} minutes; see {log}")
        if log.is_file() and len(STARTED.findall(log.read_text(encoding="utf-8"))) >= rounds:
            return
        if tries % 50 == 0:
            with contextlib.suppress(ConsoleError):  # a busy server does not always answer in time
                if has_ended(record := job_record(session, job_id)):
                    raise SystemExit(f"the job ended before round {rounds}: {job_status(record)}; see {log.parents[1]}")
        time.sleep(POLL_SECONDS)
