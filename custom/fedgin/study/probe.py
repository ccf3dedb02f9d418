"""Measure on this machine what a study's arms are made of: an optimiser step, and preparing and scoring a case."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch

from fedgin.data.datalist import Split
from fedgin.data.prepare import SiteData, choose_device, prepare_site
from fedgin.processes import same_packages
from fedgin.study.planned_arm import PlannedArm
from fedgin.train.batches import RoundPlan
from fedgin.train.evaluate.evaluator import Segmentation, score, segment
from fedgin.train.experiment import Experiment, with_changes
from fedgin.train.trainer import Trainer

STEPS = 4
# The first step allocates memory and chooses kernels.
WARM_UP = 1
# What no step's time depends on.
_OF_NO_MATTER: Any = {
    "name": True,
    "seed": True,
    "federation": True,
    "training": {"local_steps", "local_epochs", "learning_rate", "weight_decay", "schedule", "optimizer_state"},
}


@dataclass(frozen=True)
class SiteProbe:
    """Seconds for a case of a site, and bytes.

    Attributes:
        check: to find it prepared.
        score: to segment it and compare volumes, as in validation.
        test: to segment it and compare surfaces too.
        cached: bytes that it takes in the cache.
    """

    check: float
    score: float
    test: float
    cached: int


@dataclass(frozen=True)
class Probe:
    """What was measured of one setting, with one thread.

    Attributes:
        start: seconds until a new process has imported what it needs.
        step: seconds of an optimiser step.
        sites: by name.
        memory: bytes that a process of it has in use at most, on a GPU too.
        weights: bytes of the network's weights.
        busy: by what factor other work on this machine made it slower; 1 on a GPU, where it cannot be told.
    """

    start: float
    step: float
    sites: dict[str, SiteProbe]
    memory: int
    weights: int
    busy: float = 1.0


def key_of(experiment: Experiment) -> str:
    """Return what two arms share that need one probe only."""
    return experiment.model_dump_json(exclude=_OF_NO_MATTER)


def probe(setting: PlannedArm) -> Probe:
    """Train a few steps and score a case of each site.

    Args:
        setting: with a case or two of each split of its sites; a case that is not in its cache is prepared.

    Raises:
        FedginError: what would go wrong in the study, too.
    """
    clock = _Clock()
    with _one_thread():
        step, weights = _time_step(setting, clock)
        sites = {name: _probe_site(setting.arm.experiment, site, clock) for name, site in setting.sites.items()}
        busy = 1.0 if torch.cuda.is_available() else max(1.0, clock.wall / clock.computed)
        return Probe(_time_start(), step, sites, _memory(), weights, busy)


class _Clock:
    """Times work, and notes how much of the time this process computed.

    Attributes:
        wall: seconds of all that was timed.
        computed: seconds of a core in them.
    """

    def __init__(self) -> None:
        self.wall = self.computed = 0.0

    def timed(self, work: Callable[[], object]) -> float:
        """Return the seconds that a piece of work takes."""
        started, computed = time.perf_counter(), time.process_time()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        self.wall += seconds
        self.computed += time.process_time() - computed
        return seconds


def _time_step(setting: PlannedArm, clock: _Clock) -> tuple[float, int]:
    members = list(setting.arm.members(setting.sites).values())
    cases = [case for site in members for case in site.cases[Split.TRAINING]]
    device = choose_device(members[0].contract)
    network = setting.arm.experiment.initial_network()
    trainer = Trainer(network, _with_steps(setting.arm.experiment, WARM_UP), device)
    trainer.train_round(cases, RoundPlan("probe", 0, 2))
    trainer.experiment = _with_steps(setting.arm.experiment, STEPS)
    seconds = clock.timed(lambda: trainer.train_round(cases, RoundPlan("probe", 1, 2)))
    return seconds / STEPS, sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _with_steps(experiment: Experiment, steps: int) -> Experiment:
    return Experiment.model_validate(
        with_changes(experiment.model_dump(mode="json"), {"training": {"local_steps": steps}})
    )


def _probe_site(experiment: Experiment, site: SiteData, clock: _Clock) -> SiteProbe:
    cases = [case for members in site.cases.values() for case in members]
    check = clock.timed(lambda: _prepare_again(experiment, site)) / len(cases)
    case = (site.cases.get(Split.TEST) or site.cases[Split.VALIDATION])[0]
    network, found, kept = experiment.initial_network(), list[Segmentation](), experiment.in_one_piece
    device = choose_device(site.contract)
    seconds = clock.timed(lambda: segment(network, [case], device, found.append, in_one_piece=kept))
    # What an untrained network finds is everywhere, and takes longer to compare than a sound prediction.
    sound = replace(found[0], predicted=found[0].reference)
    plain = clock.timed(lambda: score(sound))
    surfaces = clock.timed(lambda: score(sound, surfaces=True))
    size = sum(one.path.stat().st_size for one in cases) // len(cases)
    return SiteProbe(check, seconds + plain, seconds + surfaces, size)


def _prepare_again(experiment: Experiment, site: SiteData) -> None:
    prepare_site(site.contract, experiment.preprocessing, experiment.organs, splits=tuple(site.cases))


def _time_start() -> float:
    """Time a new process that imports what an arm needs."""
    command = [sys.executable, "-c", "import fedgin.study.arm_worker, fedgin.train.trainer, monai.networks.nets"]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=same_packages())
    return time.perf_counter() - started


def _memory() -> int:
    """Return this process's memory, and the most that it had on a GPU."""
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return int(psutil.Process().memory_info().rss) + int(on_gpu)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as an arm does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
