"""Seconds that FLARE adds to a round beyond local compute, and bytes that a site sends and receives.

    python -m benchmarks.flare_round --rounds 8

Three small sites run in the simulator; the same sessions are then called without FLARE. What a round takes longer is
FLARE: polling, transfer, aggregation, saving. The first round is left out, it contains the start of the processes.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from nvflare.apis.dxo import DataKind
from rich.console import Console
from rich.table import Table

from fedgin.data.site import SiteContract, load_site
from fedgin.flare.client.weights import weights_to_dxo
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.run.simulation import simulate
from fedgin.flare.server.model import initial_network
from fedgin.phantoms.blocks import EXPERIMENT, write_block_site
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.site.session import SiteSession

JOBS = Path(__file__).resolve().parents[1] / "jobs"
NETWORKS = {"0.4 million": [16, 32, 64, 128], "1.6 million": [16, 32, 64, 128, 256]}


def main(rounds: Annotated[int, typer.Option(min=3, help="Rounds of each run.")] = 8) -> None:
    """Measure both networks and print a table.

    Example: python -m benchmarks.flare_round --rounds 8
    """
    table = Table(
        "parameters", "round in FLARE", "slowest site alone", "FLARE adds", "sent by a site", "received by a site"
    )
    for name, channels in NETWORKS.items():
        with tempfile.TemporaryDirectory() as scratch:
            table.add_row(name, *_measure(Path(scratch), channels, rounds))
    Console().print(table)


def _measure(folder: Path, channels: list[int], rounds: int) -> list[str]:
    contracts = {
        name: load_site(write_block_site(folder / name, name, modality))
        for name, modality in (("ct-a", "CT"), ("ct-b", "CT"), ("mr-a", "MR"))
    }
    changes = {key: EXPERIMENT[key] for key in ("organs", "preprocessing", "training")}
    network = {"name": "unet", "params": {"channels": channels}}
    job = stage_job(
        load_job(JOBS / "abdomen_fedgin"),
        folder / "job",
        sites=3,
        rounds=rounds,
        changes={**changes, "network": network},
    )
    ends: list[float] = []
    simulate(job, contracts, folder / "flare", on_round=lambda _: ends.append(time.monotonic()))
    in_flare = (ends[-1] - ends[0]) / (len(ends) - 1)
    alone = slowest_site(job, contracts, folder)
    size = _message_bytes(job)
    return [
        f"{in_flare:.2f} s",
        f"{alone:.2f} s",
        f"{in_flare - alone:.2f} s",
        f"{size / 1e6:.2f} MB",
        f"{size / 1e6:.2f} MB",
    ]


def slowest_site(job: Job, contracts: dict[str, SiteContract], folder: Path) -> float:
    """Return the seconds of the slowest site's second round without FLARE."""
    weights = averaged_weights(initial_network(str(job.folder / "app" / "config" / "experiment.yaml")))
    slowest = 0.0
    for name, contract in contracts.items():
        session = SiteSession(job.experiment, contract, folder / "alone" / name)
        session.train(weights, 0, job.rounds, stop=lambda: False)
        started = time.monotonic()
        session.train(weights, 1, job.rounds, stop=lambda: False)
        slowest = max(slowest, time.monotonic() - started)
    return slowest


def _message_bytes(job: Job) -> int:
    """Count the bytes of one set of weights; FLARE sends arrays as they are, one down and one back a round."""
    weights = averaged_weights(initial_network(str(job.folder / "app" / "config" / "experiment.yaml")))
    arrays = {name: value.numpy() for name, value in weights.items()}
    return sum(array.nbytes for array in weights_to_dxo(arrays, DataKind.WEIGHTS).data.values())


if __name__ == "__main__":
    typer.run(main)
