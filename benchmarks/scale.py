"""The server's memory and the seconds of a round, for more sites and for more weights.

    python -m benchmarks.scale

Provisioned processes with mutual TLS on loopback; at each site a stand-in answers for the training process, at once
(:mod:`benchmarks._stand_in`), and another for the process that checks a job (:mod:`benchmarks._unchecked`). So all
updates come in together, which is the most that a server can meet, and a round is FLARE's and our share of it alone.
Memory is the resident one of the server's two processes as the kernel counts it. The first round is left out of the
seconds.
"""

import gc
import itertools
import os
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import _stand_in, _unchecked
from benchmarks._instead import CHECK, TRAINER, instead
from benchmarks._rounds import CHANNELS, block_sites, count_weights, run_rounds, stage_blocks
from poc.federation import SERVER, LocalFederation, provision, start_all

JOB = "abdomen_fedgin"
# That start at a time, so that none waits too long for its turn.
TOGETHER = 5
MEGABYTE = 1e6


@dataclass(frozen=True)
class Load:
    """What one run asked of the server.

    Attributes:
        sites: that took part.
        megabytes: of one model in float32.
        before: memory of the server's two processes when the first round started, in MB.
        job: the most memory of its process of the job, in MB.
        between: the most of the process that serves all jobs, during this one, in MB.
        seconds: of a round.
    """

    sites: int
    megabytes: float
    before: float
    job: float
    between: float
    seconds: float

    @property
    def peak(self) -> float:
        """The most memory of both processes, in MB; they may not have had it at the same time."""
        return self.job + self.between


def read_memory(status: str, entry: str) -> float:
    """Return an entry such as ``VmHWM`` of the kernel's status of a process, in MB."""
    [(kilobytes)] = re.findall(rf"^{entry}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kilobytes) * 1024 / MEGABYTE


def megabytes_a_site(few: Load, many: Load) -> float:
    """Return how much more the server needs for each further site, in MB."""
    return (many.peak - few.peak) / (many.sites - few.sites)


def main(
    sites: Annotated[list[int] | None, typer.Option(min=2, help="Sites, a number a run: 3, 10 and 30.")] = None,
    weights: Annotated[list[int] | None, typer.Option(help="Millions of weights: of 2, 30 and 100.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each run.")] = 4,
) -> None:
    """Run the least number of sites with each network, and each number of sites with the smallest network.

    Example: python -m benchmarks.scale --sites 3 --sites 10 --weights 2
    """
    counts, sizes = sorted(sites or [3, 10, 30]), sorted(weights or CHANNELS)
    names = [f"site-{number}" for number in range(counts[-1])]
    os.environ |= instead({TRAINER: _stand_in, CHECK: _unchecked})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        federation = provision(block_sites(folder, names), folder / "federation")
        try:
            start_all(federation, names[: counts[0]])
            loads = [_measure(federation, folder / "job", size, counts[0], rounds) for size in sizes]
            for before, count in itertools.pairwise(counts):
                _start(federation, names[before:count])
                loads.append(_measure(federation, folder / "job", sizes[0], count, rounds))
        finally:
            federation.stop_all()
    _print(loads, len(sizes))


def _start(federation: LocalFederation, names: list[str]) -> None:
    for first in range(0, len(names), TOGETHER):
        for name in names[first : first + TOGETHER]:
            federation.start(name)
        for name in names[first : first + TOGETHER]:
            federation.wait_for_log(name, "Successfully registered client", seconds=300)


def _measure(federation: LocalFederation, target: Path, size: int, sites: int, rounds: int) -> Load:
    job = stage_blocks(JOB, target, CHANNELS[size], sites=sites, rounds=rounds + 1)
    megabytes = 4 * count_weights(job) / MEGABYTE
    gc.collect()
    _forget_peaks(federation)
    before: dict[bool, float] = {}
    peaks: dict[bool, float] = {}
    seconds = run_rounds(
        federation,
        job,
        at_start=lambda: before.update(_memory(federation, "VmRSS")),
        at_end=lambda: peaks.update(_memory(federation, "VmHWM")),
    )
    load = Load(sites, megabytes, sum(before.values()), peaks[True], peaks[False], statistics.mean(seconds[1:]))
    print(load, flush=True)
    return load


def _memory(federation: LocalFederation, entry: str) -> dict[bool, float]:
    """Return the memory in MB of the server's process of the job (true), and of all others that it has (false)."""
    found = {True: 0.0, False: 0.0}
    for process in federation.family(SERVER):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        found[_of_a_job(process)] += read_memory(status, entry)
    return found


def _of_a_job(process: psutil.Process) -> bool:
    return "nvflare.private.fed.app.server.runner_process" in process.cmdline()


def _forget_peaks(federation: LocalFederation) -> None:
    """Let the kernel count the most memory of the server's processes anew."""
    for process in federation.family(SERVER):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")


def _print(loads: list[Load], networks: int) -> None:
    """Print every run, and what more sites cost: the first run and those behind the ``networks`` differ in sites."""
    table = Table("sites", "model, MB", "before, MB", "job's process, MB", "other, MB", "peak / first", "round, s")
    for load in loads:
        numbers = (load.megabytes, load.before, load.job, load.between)
        ratio = load.peak / loads[0].peak
        table.add_row(f"{load.sites}", *(f"{value:.0f}" for value in numbers), f"{ratio:.2f}", f"{load.seconds:.2f}")
    for load in loads[networks:]:
        more = megabytes_a_site(loads[0], load)
        print(f"{load.sites} sites need {load.peak / loads[0].peak:.3f} times the memory, {more:.2f} MB more a site")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
