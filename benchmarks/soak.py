"""Memory of the server over many rounds: eight small sites in FLARE's simulator.

    python -m benchmarks.soak
    python -m benchmarks.soak --rounds 200 --sites 4

After each round the resident memory of the server's process is noted. FLARE hands memory back every five rounds
(``memory_gc_rounds`` of our jobs), so it rises and falls within them; what counts is the median of each ten. In the
first ten caches and pools fill up; from then on it must be flat: the benchmark fails when the largest median exceeds
the smallest by more than 5 %.
"""

import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from fedgin.data.site import load_site
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.flare.run.results import RoundMetrics
from fedgin.flare.run.simulation import simulate
from fedgin.phantoms.blocks import EXPERIMENT, write_block_site

JOB = Path(__file__).resolve().parents[1] / "jobs" / "abdomen_fedgin"
CYCLE = 10
ALLOWED_SPREAD = 1.05
MEGABYTE = 1e6


@dataclass
class _Watch:
    """Notes the server's memory at each round's end."""

    megabytes: list[float] = field(default_factory=list)

    def __call__(self, metrics: RoundMetrics) -> None:
        self.megabytes.append(_server().memory_info().rss / MEGABYTE)
        print(f"round {metrics.number + 1}: server {self.megabytes[-1]:.0f} MB", flush=True)


def main(
    rounds: Annotated[int, typer.Option(min=3 * CYCLE, help="Rounds of the job.")] = 50,
    sites: Annotated[int, typer.Option(min=2, help="Sites, every other one MR.")] = 8,
) -> None:
    """Run the job and print the server's memory.

    Example: python -m benchmarks.soak --rounds 50 --sites 8
    """
    changes = {key: EXPERIMENT[key] for key in ("organs", "preprocessing", "training")}
    watch = _Watch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = {f"site-{number}": "MR" if number % 2 else "CT" for number in range(sites)}
        contracts = {name: load_site(write_block_site(folder / name, name, kind)) for name, kind in names.items()}
        job = stage_job(load_job(JOB), folder / "job", sites=sites, rounds=rounds, changes=changes)
        simulate(job, contracts, folder / "flare", on_round=watch)
    _print(watch.megabytes)
    if _spread(watch.megabytes) > ALLOWED_SPREAD:
        sys.exit(1)


def _server() -> psutil.Process:
    """Return the process in which the simulator's server runs; it works in a folder of that name."""
    [server] = [child for child in psutil.Process().children(recursive=True) if Path(child.cwd()).name == "server"]
    return server


def _medians(megabytes: list[float]) -> list[float]:
    return [statistics.median(megabytes[start : start + CYCLE]) for start in range(0, len(megabytes), CYCLE)]


def _spread(megabytes: list[float]) -> float:
    settled = _medians(megabytes)[1:]
    return max(settled) / min(settled)


def _print(megabytes: list[float]) -> None:
    table = Table("rounds", "server, median MB")
    for number, median in enumerate(_medians(megabytes)):
        table.add_row(f"{number * CYCLE + 1} to {min((number + 1) * CYCLE, len(megabytes))}", f"{median:.0f}")
    table.caption = f"after the first {CYCLE} rounds, largest / smallest: {_spread(megabytes):.3f}"
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
