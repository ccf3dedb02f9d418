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
    """

    start: float
    step: float
    sites: dict[str, SiteProbe]
    memory: int
    weights: int


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
    with _one_thread():
        step, weights = _time_step(setting)
        sites = {name: _probe_site(setting.arm.experiment, site) for name, site in setting.sites.items()}
        return Probe(_time_start(), step, sites, _memory(), weights)


def _time_step(setting: PlannedArm) -> tuple[float, int]:
    members = list(setting.arm.members(setting.sites).values())
    cases = [case for site in members for case in site.cases[Split.TRAINING]]
    device = choose_device(members[0].contract)
    network = setting.arm.experiment.initial_network()
    trainer = Trainer(network, _with_steps(setting.arm.experiment, WARM_UP), device)
    trainer.train_round(cases, RoundPlan("probe", 0, 2))
    trainer.experiment = _with_steps(setting.arm.experiment, STEPS)
    seconds = _timed(lambda: trainer.train_round(cases, RoundPlan("probe", 1, 2)))
    return seconds / STEPS, sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _with_steps(experiment: Experiment, steps: int) -> Experiment:
    return Experiment.model_validate(
        with_changes(experiment.model_dump(mode="json"), {"training": {"local_steps": steps}})
    )


def _probe_site(experiment: Experiment, site: SiteData) -> SiteProbe:
    cases = [case for members in site.cases.values() for case in members]
    check = _timed(lambda: _prepare_again(experiment, site)) / len(cases)
    case = (site.cases.get(Split.TEST) or site.cases[Split.VALIDATION])[0]
    network, found = experiment.initial_network(), list[Segmentation]()
    seconds = _timed(lambda: segment(network, [case], choose_device(site.contract), found.append))
    # What an untrained network finds is everywhere, and takes longer to compare than a sound prediction.
    sound = replace(found[0], predicted=found[0].reference)
    plain = _timed(lambda: score(sound))
    surfaces = _timed(lambda: score(sound, surfaces=True))
    size = sum(one.path.stat().st_size for one in cases) // len(cases)
    return SiteProbe(check, seconds + plain, seconds + surfaces, size)


def _prepare_again(experiment: Experiment, site: SiteData) -> None:
    prepare_site(site.contract, experiment.preprocessing, experiment.organs, splits=tuple(site.cases))


def _time_start() -> float:
    """Time a new process that imports what an arm needs."""
    command = [sys.executable, "-c", "import fedgin.study.arm_worker, fedgin.train.trainer, monai.networks.nets"]
    return _timed(lambda: subprocess.run(command, check=True, env=same_packages()))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
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
