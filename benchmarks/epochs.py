"""First and cached epoch of real or own sites, how long the trainer waits for data, and memory by number of cases.

python -m benchmarks.epochs runs/real_sites/mr-site/site.yaml --steps 40
"""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.site import Modality, SiteContract, load_site
from fedgin.flare.jobs.job import load_job
from fedgin.phantoms.site import write_site
from fedgin.phantoms.subject import PhantomSite
from fedgin.train.batches import RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.trainer import Trainer

JOB = Path(__file__).resolve().parents[1] / "jobs" / "abdomen_fedgin"
PLAN = RoundPlan("benchmark", 0, 1)


def main(
    site: Annotated[Path, typer.Argument(help="site.yaml.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of an epoch.")] = 40,
) -> None:
    """Measure one site and print a table.

    Example: python -m benchmarks.epochs runs/real_sites/mr-site/site.yaml --steps 40
    """
    experiment = load_job(JOB).experiment
    training = experiment.training.model_copy(update={"local_steps": steps})
    experiment = experiment.model_copy(update={"training": training})
    table = Table("what", "seconds", "share")
    with tempfile.TemporaryDirectory() as scratch:
        contract = load_site(site).model_copy(update={"cache_dir": Path(scratch)})
        for title in ("first epoch: checks, preprocessing, training", "cached epoch"):
            started = time.monotonic()
            waiting = _epoch(experiment, contract)
            spent = time.monotonic() - started
            table.add_row(title, f"{spent:.1f}", "")
        table.add_row("of the cached epoch: waiting for slices", f"{waiting:.2f}", f"{waiting / spent:.1%}")
    for cases in (4, 12):
        table.add_row(f"peak memory with {cases} training cases", f"{_peak_megabytes(cases):.0f} MB", "")
    Console().print(table)


def _epoch(experiment: Experiment, contract: SiteContract) -> float:
    """Prepare and train; return the seconds that reading the same batches takes by itself."""
    data = prepare_site(contract, experiment.preprocessing, experiment.organs)
    trainer = _make_trainer(experiment)
    trainer.train_round(data.cases[Split.TRAINING], PLAN)
    return _read_batches(trainer, data)


def _read_batches(trainer: Trainer, data: SiteData) -> float:
    started = time.monotonic()
    for _ in trainer.batches(data.cases[Split.TRAINING], PLAN):
        pass
    return time.monotonic() - started


def _make_trainer(experiment: Experiment) -> Trainer:
    network = experiment.initial_network()
    return Trainer(network, experiment, torch.device("cpu"))


def _peak_megabytes(cases: int) -> float:
    """Prepare and train phantoms in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch, multiprocessing.get_context("spawn").Pool(1) as pool:
        labels = {"liver": 1, "spleen": 2, "right_kidney": 3, "left_kidney": 4, "pancreas": 5, "gallbladder": 6}
        phantoms = PhantomSite("memory", Modality.CT, training=cases, validation=1, test=0, seed=1, label_ids=labels)
        path = write_site(Path(scratch), phantoms)
        return float(pool.apply(_peak_of_one_epoch, (path,)))


def _peak_of_one_epoch(path: Path) -> float:
    experiment = load_job(JOB).experiment
    training = experiment.training.model_copy(update={"local_steps": 4})
    _epoch(experiment.model_copy(update={"training": training}), load_site(path))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    typer.run(main)
