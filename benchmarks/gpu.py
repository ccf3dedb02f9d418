"""Check on a GPU what no test can check without one, and measure it: all networks, all draws, the data path, a round.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu

Every network trains two steps with mixed precision on slices and on volumes, every augmentation must give on the device
what it gives on the CPU, and a federation of two sites does a round on it. Data are block phantoms; nothing is loaded.
It ends with code 1 when anything failed. On the CPU the same code runs, slowly, and mixed precision stays off.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fedgin.augment import augmentation_names, build_augmentation
from fedgin.augment.hooks import Guide
from fedgin.config import merged
from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.flare.run.simulation import simulate
from fedgin.nets.registry import network_names
from fedgin.phantoms.blocks import EXPERIMENT, ORGANS, write_block_site
from fedgin.seeds import make_generator
from fedgin.train.batches import BatchMaker, RoundPlan
from fedgin.train.experiment import Experiment
from fedgin.train.trainer import BATCHES_AHEAD, Trainer

JOBS = Path(__file__).resolve().parents[1] / "jobs"
# A job of slices and one of volumes, whose sizes the networks are given.
SIZED = {"slices": "abdomen_fedgin", "volumes": "abdomen_fedgin_3d"}
# Of volumes, for networks that halve an axis more often than the job's patch can be halved.
PATCH = [32, 32, 32]
SHAPES = {"slices": (4, 1, 128, 96), "volumes": (2, 1, 32, 64, 64)}
LIMIT = 1e-4
STEPS = 2
TIMED_STEPS = 10


@dataclass(frozen=True)
class Check:
    """One line of the result; ``measured`` says what went wrong where it failed."""

    what: str
    measured: str
    passed: bool


def main(
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu.")] = "cuda",
) -> None:
    """Check and measure everything, and print a table.

    Example: python -m benchmarks.gpu --device cuda:1
    """
    place, started = torch.device(device), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checks = [*check_networks(folder, place, network_names()), *check_draws(place, augmentation_names())]
        checks += [*measure_jobs(folder, place, TIMED_STEPS), check_round(folder, device)]
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    title = f"{name}, PyTorch {torch.__version__}, {time.monotonic() - started:.0f} s"
    table = Table("what", "measured", "", title=title)
    for check in checks:
        table.add_row(check.what, check.measured, "passed" if check.passed else "FAILED")
    Console().print(table)
    raise typer.Exit(0 if all(check.passed for check in checks) else 1)


def check_networks(folder: Path, device: torch.device, names: Iterable[str]) -> list[Check]:
    """Train two steps of every network, on slices and on volumes."""
    return [
        _checked(f"{name}, {axes}, {STEPS} steps", partial(_train, folder, device, name, axes))
        for name in names
        for axes in SIZED
    ]


def _train(folder: Path, device: torch.device, name: str, axes: str) -> str:
    changes = {"preprocessing": {"size": PATCH}} if axes == "volumes" else {}
    experiment = small(SIZED[axes], STEPS, network={"name": name}, **changes)
    trainer = Trainer(experiment.initial_network(), experiment, device)
    seconds = _timed(device, lambda: trainer.train_round(cases_for(folder, experiment), RoundPlan("site-1", 0, 1)))
    memory = f", {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""
    return f"{1e3 * seconds / STEPS:.0f} ms a step with its start{memory}"


def small(job: str, steps: int, **changes: object) -> Experiment:
    """Return the experiment of one of our jobs for the organs of block phantoms, without its network's parameters."""
    values = load_job(JOBS / job).experiment.model_dump(mode="json")
    if "network" in changes:
        values.pop("network")
    training = {"local_steps": steps, "batch_size": 2, "amp": True}
    fewer = {"organs": ORGANS, "postprocessing": {"largest_region": []}, "training": training}
    return Experiment.model_validate(merged(values, {**fewer, **changes}))


def cases_for(folder: Path, experiment: Experiment) -> list[CachedCase]:
    """Return a site's training cases, preprocessed once for each experiment."""
    path = folder / "cases" / "site.yaml"
    if not path.exists():
        write_block_site(path.parent, "site-1")
    return prepare_site(load_site(path), experiment.preprocessing, experiment.organs).cases[Split.TRAINING]


def check_draws(device: torch.device, names: Iterable[str]) -> list[Check]:
    """Compare the views that an augmentation gives on the device with those that it gives on the CPU."""
    return [
        _checked(f"{name}, {axes}, beside the CPU", partial(_compare, name, shape, device))
        for name in names
        for axes, shape in SHAPES.items()
    ]


def _compare(name: str, shape: tuple[int, ...], device: torch.device) -> str:
    image = torch.randn(shape, generator=make_generator("gpu"))
    label = (image > 1).to(torch.uint8)

    def views(place: torch.device) -> list[Tensor]:
        guide = Guide(label.to(place), lambda seen: seen.detach())
        body = torch.ones_like(label, dtype=torch.bool).to(place)
        method = build_augmentation(name)
        return method.guided_views(image.to(place), guide, gen=make_generator("gpu", name), body=body)

    pairs = zip(views(torch.device("cpu")), views(device), strict=True)
    apart = [float((there.cpu() - here).abs().max() / here.abs().max()) for here, there in pairs]
    # NaN is neither more nor less than anything, and max skips it.
    if wrong := [each for each in apart if not each <= LIMIT]:
        raise ArithmeticError(f"differs by {wrong[0]:.1e} of the largest value, allowed is {LIMIT:.0e}")
    return f"largest difference {max(apart):.1e}"


def measure_jobs(folder: Path, device: torch.device, steps: int, patch: Sequence[int] | None = None) -> list[Check]:
    """Time the data path and whole steps of a job of slices and one of volumes, at their own batch sizes.

    With ``patch`` the one of volumes has patches of this size in place of its own.
    """
    return [_checked(f"{job}, a step", partial(_measure, folder, device, job, steps, patch)) for job in SIZED.values()]


def _measure(folder: Path, device: torch.device, job: str, steps: int, patch: Sequence[int] | None) -> str:
    changes = {"preprocessing": {"size": patch}} if patch and job == SIZED["volumes"] else {}
    batch = load_job(JOBS / job).experiment.training.batch_size
    experiment = small(job, steps, training={"local_steps": steps, "batch_size": batch, "amp": True}, **changes)
    cases, plan = cases_for(folder, experiment), RoundPlan("site-1", 0, 1)
    trainer = Trainer(experiment.initial_network(), experiment, device)
    trainer.train_round(cases, plan)  # the first calls choose algorithms
    wholes = []
    for trainer.ahead in (0, BATCHES_AHEAD):
        wholes.append(_timed(device, lambda: trainer.train_round(cases, plan)))
    batches = trainer.batches(cases, plan)
    read = _timed(device, lambda: list(batches))
    maker, held = BatchMaker(trainer.network, experiment, trainer.augmentation, plan), list(batches)
    changed = _timed(device, lambda: [maker(each, device, non_blocking=False) for each in held])
    parts = (1e3 * seconds / steps for seconds in (*wholes, read, changed))
    return "{:.1f} ms, {:.1f} with batches read ahead; reading {:.1f}, geometry and look {:.1f}".format(*parts)


def check_round(folder: Path, device: str) -> Check:
    """Let two sites do a round of a federation on the device."""

    def run() -> str:
        contracts = {}
        for name, modality in (("ct", "CT"), ("mr", "MR")):
            contract = load_site(write_block_site(folder / name, name, modality))
            contracts[name] = contract.model_copy(update={"device": device})
        changes = {key: EXPERIMENT[key] for key in ("organs", "preprocessing", "network", "training")}
        job = stage_job(load_job(JOBS / "abdomen_fedgin"), folder / "job", sites=2, rounds=1, changes=changes)
        started = time.monotonic()
        result = simulate(job, contracts, folder / "flare")
        return f"{time.monotonic() - started:.0f} s, {len(result.rounds)} round, both sites trained"

    return _checked("a federated round", run)


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    """Return seconds until the device has done all of it."""
    started = time.monotonic()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - started


def _checked(what: str, check: Callable[[], str]) -> Check:
    """Run a check; whatever goes wrong is its result, so that one run shows all faults."""
    try:
        return Check(what, check(), passed=True)
    except Exception as error:
        return Check(what, f"{type(error).__name__}: {error}", passed=False)


if __name__ == "__main__":
    typer.run(main)
