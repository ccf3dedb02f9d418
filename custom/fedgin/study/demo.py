"""The demonstration: plain FedAvg, FedGIN and training on MR alone, on the same sites."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.site import Modality, SiteContract
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.phantoms.task import Task
from fedgin.study.arm_result import Comparison, run_arm
from fedgin.study.arms import Arm, FederatedArm, PooledArm
from fedgin.study.planned_arm import find_cross_modality_sites


@dataclass(frozen=True)
class DemoPlan:
    """What the demonstration runs.

    Attributes:
        sites: folder with one folder a site, each with a ``site.yaml``.
        task: whose jobs run.
        jobs: folder with the jobs ``TASK_fedavg`` and ``TASK_fedgin``.
        out: where results go; a second run with the same plan continues there.
        rounds: of every arm.
        local_steps: of every site in every round.
        batch_size: slices in a step.
        seed: of the run.
        title: headline of the report.
        note: a sentence about the data.
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


class DemoListener(Protocol):
    """Is told how far the demonstration is."""

    def preparing(self, site: str, done: int, total: int) -> None:
        """One more case of a site is preprocessed."""

    def arm_started(self, arm: Arm) -> None:
        """An arm starts."""

    def round_done(self, arm: Arm, point: dict[str, float]) -> None:
        """A network was validated: ``round`` and the mean Dice by modality."""

    def arm_done(self, arm: Arm, *, resumed: bool) -> None:
        """An arm is complete; ``resumed`` when an earlier run had completed it."""


def run_demo(plan: DemoPlan, listener: DemoListener) -> Comparison:
    """Run every arm that is not complete yet; return what all of them measured.

    Raises:
        FedginError: settings, data or an arm are wrong; complete arms are kept.
    """
    started = time.monotonic()
    contracts = find_cross_modality_sites(plan.sites)
    arms = make_arms(plan, len(contracts))
    sites = _prepare(contracts, arms[0], listener)
    results = []
    for arm in arms:
        listener.arm_started(arm)
        results.append(run_arm(arm, sites, plan.out / "arms", listener.round_done))
        listener.arm_done(arm, resumed=results[-1].resumed)
    anew = not all(result.resumed for result in results)
    seconds = time.monotonic() - started if anew else 0.0
    return Comparison(plan.title, plan.note, sites, results, seconds)


def make_arms(plan: DemoPlan, sites: int) -> list[Arm]:
    """Return the arms: MR alone, plain FedAvg, FedGIN; equal in rounds, steps and initial weights."""
    fedavg, fedgin = (_stage(plan, name, sites) for name in (f"{plan.task}_fedavg", f"{plan.task}_fedgin"))
    alone = PooledArm("mr_only", "MR only", fedavg.experiment, (Modality.MR,), plan.rounds)
    return [alone, FederatedArm("fedavg", "FedAvg", fedavg), FederatedArm("fedgin", "FedGIN", fedgin)]


def _stage(plan: DemoPlan, name: str, sites: int) -> Job:
    changes = {"seed": plan.seed, "training": {"local_steps": plan.local_steps, "batch_size": plan.batch_size}}
    target = plan.out / "jobs" / name
    return stage_job(load_job(plan.jobs / name), target, sites=sites, rounds=plan.rounds, changes=changes)


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
