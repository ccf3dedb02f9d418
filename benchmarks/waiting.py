"""What FLARE's processes cost while sites wait for the slowest one.

    python -m benchmarks.waiting

Provisioned processes with mutual TLS on loopback, with stand-ins as in :mod:`benchmarks.scale`; the last site's is
stopped in the middle of a round, so that all others wait. CPU time is counted after a while, as waits of hours are.
"""

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import _stand_in, _unchecked
from benchmarks._instead import CHECK, TRAINER, instead
from benchmarks._rounds import CHANNELS, block_sites, run_rounds, stage_blocks
from poc.federation import SERVER, LocalFederation, provision, running

JOB = "abdomen_fedgin"
# As many as a site allows; the last one is never reached.
ROUNDS = 2_000


class Measured(Exception):  # noqa: N818
    """Leaves a job that has no end."""


def main(
    sites: Annotated[int, typer.Option(min=2, help="Sites, of which all but one wait.")] = 3,
    settle: Annotated[float, typer.Option(min=0, help="Seconds of waiting before anything is counted.")] = 45.0,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds that are counted.")] = 30.0,
) -> None:
    """Let one site stand still and print what the others and the server use.

    Example: python -m benchmarks.waiting --sites 10
    """
    names = [f"site-{number}" for number in range(sites)]
    os.environ |= instead({TRAINER: _stand_in, CHECK: _unchecked})
    shares: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        federation = provision(block_sites(Path(scratch), names), Path(scratch) / "federation")
        job = stage_blocks(JOB, Path(scratch) / "job", CHANNELS[2], sites=sites, rounds=ROUNDS)

        def measure() -> None:
            _stop_training(federation, names[-1])
            time.sleep(settle)
            shares.update(_shares(federation, names[:-1], seconds))
            raise Measured

        with running(federation, names):
            try:
                run_rounds(federation, job, at_start=measure, at_end=lambda: None)
            except Measured:
                _print(shares, sites - 1)


def _stop_training(federation: LocalFederation, name: str) -> None:
    """Stop a site's stand-in once it is there."""
    while True:
        for process in federation.family(name):
            if TRAINER in process.cmdline():
                process.send_signal(signal.SIGSTOP)
                return
        time.sleep(0.1)


def _shares(federation: LocalFederation, waiting: list[str], seconds: float) -> dict[str, float]:
    """Return the share of a core that each kind of process uses; of sites the mean."""
    before, start = _cpu(federation, waiting), time.monotonic()
    time.sleep(seconds)
    after, took = _cpu(federation, waiting), time.monotonic() - start
    return {kind: (after[kind] - before[kind]) / took for kind in after}


def _cpu(federation: LocalFederation, waiting: list[str]) -> dict[str, float]:
    server = [_seconds(process) for process in federation.family(SERVER)]
    sites = [_seconds(process) for name in waiting for process in federation.family(name)]
    return {"the server's processes": sum(server), "a site's processes": sum(sites) / len(waiting)}


def _seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _print(shares: dict[str, float], waiting: int) -> None:
    table = Table("CPU time", f"while {waiting} sites wait, share of a core")
    for kind, share in shares.items():
        table.add_row(kind, f"{share:.1%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
