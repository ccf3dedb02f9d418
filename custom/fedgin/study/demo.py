"""The demonstration: one modality alone, FedAvg and FedGIN, on the same sites.

Its sites pose the paper's question: few MR patients and more CT. Two arms never see MR at all.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.site import Modality, SiteContract
from fedgin.data.sites import check_labelled
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.fork_server import fork_server
from fedgin.phantoms.task import Task
from fedgin.study.arm_result import ArmResult, Comparison, run_arm
from fedgin.study.arms import Arm, FederatedArm, PooledArm
from fedgin.study.planned_arm import find_cross_modality_sites
from fedgin.train.augmentation_settings import AugmentationSettings


@dataclass(frozen=True)
class DemoPlan:
    """What the demonstration runs.

    Attributes:
        sites: folder with one folder a site, each with a ``site.yaml``.
        task: whose jobs run.
        jobs: folder with the jobs ``TASK_fedavg`` and ``TASK_fedgin``; for volumes ``TASK_fedgin_3d``.
        out: where results go; a second run with the same plan continues there.
        rounds: the rounds of every arm.
        local_steps: the optimiser steps of every site in every round.
        batch_size: slices, or patches of volumes, in a step.
        seed: the seed of the run.
        title: headline of the report.
        note: a sentence about the data.
        volumes: whether networks see volumes, by patch, and not slices.
    """

    sites: Path
    task: Task
    jobs: Path
    out: Path
    rounds: int
    local_steps: int
    batch_size: int
    seed: int
    title: str
    note: str
    volumes: bool = False


class DemoListener(Protocol):
    """Is told how far the demonstration is."""

    def preparing(self, site: str, done: int, total: int) -> None:
        """One more case of a site is preprocessed."""

    def arm_started(self, arm: Arm) -> None:
        """An arm starts."""

    def round_done(self, arm: Arm, point: dict[str, float], left: float) -> None:
        """A network was validated: ``round`` and the mean Dice by modality; all arms need about ``left`` seconds."""

    def arm_done(self, arm: Arm, *, resumed: bool) -> None:
        """An arm is complete; ``resumed`` when an earlier run had completed it."""


def shipped_jobs() -> Path:
    """Return the jobs of the checkout that this package is installed from, wherever the command is called.

    Raises:
        ConfigError: the package was installed without them.
    """
    jobs = Path(__file__).resolve().parents[3] / "jobs"
    if not jobs.is_dir():
        raise ConfigError("this installation has no folder of jobs beside it", "name one: --jobs FOLDER")
    return jobs


def run_demo(plan: DemoPlan, listener: DemoListener) -> Comparison:
    """Run every arm that is not complete yet; return what all of them measured.

    Raises:
        FedginError: settings, data or an arm are wrong; complete arms are kept.
    """
    started = time.monotonic()
    contracts = find_cross_modality_sites(plan.sites)
    arms = make_arms(plan, len(contracts))
    check_labelled(contracts, arms[0].experiment.organs)
    sites = _prepare(contracts, arms[0], listener)
    pace = Pace(arms, len(sites))
    with fork_server():
        results = [_run(arm, sites, plan, pace, listener) for arm in arms]
    anew = not all(result.resumed for result in results)
    seconds = time.monotonic() - started if anew else 0.0
    return Comparison(plan.title, plan.note, sites, results, seconds)


def _run(arm: Arm, sites: Mapping[str, SiteData], plan: DemoPlan, pace: "Pace", listener: DemoListener) -> ArmResult:
    def tell(arm: Arm, point: dict[str, float]) -> None:
        listener.round_done(arm, point, pace.left(point["round"]))

    listener.arm_started(arm)
    pace.start(arm)
    result = run_arm(arm, sites, plan.out / "arms", tell)
    pace.end(resumed=result.resumed)
    listener.arm_done(arm, resumed=result.resumed)
    return result


def make_arms(plan: DemoPlan, sites: int) -> list[Arm]:
    """Return the arms, equal in rounds, steps of a site and initial weights; FedGIN is the last one.

    MR alone is what the MR site has today. CT alone, plain and with GIN, never sees MR. FedAvg and FedGIN see both.
    """
    fedavg, fedgin = (_stage(plan, job, sites) for job in _jobs(plan))
    return [
        PooledArm("mr_only", "MR only", fedavg.experiment, (Modality.MR,), plan.rounds),
        PooledArm("ct_only", "CT only", fedavg.experiment, (Modality.CT,), plan.rounds),
        PooledArm("ct_only_gin", "CT only, GIN", fedgin.experiment, (Modality.CT,), plan.rounds),
        FederatedArm("fedavg", "FedAvg", fedavg),
        FederatedArm("fedgin", "FedGIN", fedgin),
    ]


class Pace:
    """Estimates how long all arms still need, from the time that this run's rounds took.

    A federated arm counts once for each of its sites, which share the cores. An arm that continues took no time for the
    rounds before the first one that it tells.

    Args:
        arms: the arms in their order.
        sites: the sites of the federation.
        clock: seconds that only grow.
    """

    def __init__(self, arms: Sequence[Arm], sites: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work = {arm.name: float(sites if isinstance(arm, FederatedArm) else 1) * arm.rounds for arm in arms}
        self._running, self._rounds, self._before = "", 1, math.nan
        self._started = self._seconds = self._done = 0.0

    def start(self, arm: Arm) -> None:
        """Note that an arm starts."""
        self._running, self._rounds, self._started = arm.name, arm.rounds, self._clock()
        self._before = math.nan

    def left(self, round_number: float) -> float:
        """Return seconds, with so many rounds of the running arm done; NaN before there is anything to go by."""
        if math.isnan(self._before):
            self._before = max(0.0, round_number - 1)
        share = self._work[self._running] / self._rounds
        done = share * (round_number - self._before)
        seconds = self._seconds + self._clock() - self._started
        if not self._done + done:
            return math.nan
        return (sum(self._work.values()) - share * round_number) * seconds / (self._done + done)

    def end(self, *, resumed: bool) -> None:
        """Note that the running arm is complete; one that an earlier run had completed tells nothing about time."""
        work = self._work.pop(self._running)
        if not resumed and not math.isnan(self._before):  # else an earlier run had trained it to its end
            self._done += work * (1 - self._before / self._rounds)
            self._seconds += self._clock() - self._started


def _jobs(plan: DemoPlan) -> tuple[Job, Job]:
    """Return FedAvg's job and FedGIN's; for volumes FedAvg's is FedGIN's without augmentation."""
    if not plan.volumes:
        return load_job(plan.jobs / f"{plan.task}_fedavg"), load_job(plan.jobs / f"{plan.task}_fedgin")
    fedgin = load_job(plan.jobs / f"{plan.task}_fedgin_3d")
    plain = {"name": f"{plan.task}_fedavg_3d", "augmentation": AugmentationSettings()}
    return replace(fedgin, experiment=fedgin.experiment.model_copy(update=plain)), fedgin


def _stage(plan: DemoPlan, job: Job, sites: int) -> Job:
    training: dict[str, object] = {"local_steps": plan.local_steps, "batch_size": plan.batch_size}
    if not plan.volumes:
        # Nearer to the shipped table: bfloat16 changes its means by up to 0.10, another CPU's rounding by up to 0.06.
        training["amp"] = False
    changes = {"seed": plan.seed, "training": training}
    target = plan.out / "jobs" / job.experiment.name
    return stage_job(job, target, sites=sites, rounds=plan.rounds, changes=changes)


def _prepare(contracts: list[SiteContract], arm: Arm, listener: DemoListener) -> dict[str, SiteData]:
    return {
        contract.site: prepare_site(
            contract,
            arm.experiment.preprocessing,
            arm.experiment.organs,
            progress=_for_site(listener, contract.site),
        )
        for contract in contracts
    }


def _for_site(listener: DemoListener, site: str) -> Callable[[int, int], None]:
    return lambda done, total: listener.preparing(site, done, total)
