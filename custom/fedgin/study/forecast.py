"""How long a study takes on this machine, and what memory and disk it needs, from a short probe of each setting.

Preparing, a step, and scoring are measured; what FLARE adds to a round is what docs/speed.md has of it.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedgin.data.datalist import Split, list_cases
from fedgin.data.prepare import SiteData
from fedgin.study.arm_result import has_result
from fedgin.study.arms import FederatedArm, PooledArm
from fedgin.study.plan import ArmSpec, load_study
from fedgin.study.planned_arm import PlannedArm, StudySites
from fedgin.study.probe import Probe, key_of, probe
from fedgin.study.runner import chosen_arms
from fedgin.study.scarcity import with_first_cases
from fedgin.study.workload import cores_of, steps_of_arm
from fedgin.train.augmentation_settings import AugmentationSettings

# Of FLARE: what it adds to a round, and to a run beside the starts of processes; memory of its server and simulator.
ROUND_SECONDS = 1.0
RUN_SECONDS = 10.0
SERVER_BYTES = 700_000_000
# Copies of the weights that an arm leaves: its checkpoint with AdamW's two moments, and its result ...
POOLED_COPIES = 4
# ... or those of the server, and of each site.
SERVER_COPIES, SITE_COPIES = 6, 6


@dataclass(frozen=True)
class ArmForecast:
    """What an arm needs.

    Attributes:
        spec: the arm.
        augmentation: of its method, as it will train.
        steps: optimiser steps of all its sites together.
        cores: that it computes on.
        seconds: how long it takes, alone on its cores.
        memory: bytes at most.
        disk: bytes that it leaves.
        complete: there is a result already.
    """

    spec: ArmSpec
    augmentation: AugmentationSettings
    steps: int
    cores: int
    seconds: float
    memory: int
    disk: int
    complete: bool


@dataclass(frozen=True)
class Forecast:
    """What a study needs.

    Attributes:
        arms: in the study's order.
        preparing: seconds for all cases at most; prepared ones are not prepared again.
        seconds: of the arms that are not complete, side by side, without preparing.
        memory: bytes at the worst time.
        disk: bytes of all arms that are not complete, and of the prepared cases.
        busy: by what factor other work made the machine slower than it is.
    """

    arms: list[ArmForecast]
    preparing: float
    seconds: float
    memory: int
    disk: int
    busy: float


def forecast_study(source: Path, out: Path, *, cores: int, only: Sequence[str] = ()) -> Forecast:
    """Prepare a case of each split of each site, and run a few steps and one scoring of each distinct setting.

    Nothing is written into ``out`` or into the sites' caches.

    Args:
        source: the ``study.yaml``.
        out: folder of the study, which need not exist; arms with a result there are complete.
        cores: as of the study.
        only: names of arms; by default all.

    Raises:
        FedginError: settings or data are wrong, or ``out`` has a result of others.
    """
    with tempfile.TemporaryDirectory() as scratch:
        planner = _Planner(source, Path(scratch), cores)
        arms = chosen_arms(planner.sites.arms(), only)
        forecasts = [planner.forecast(spec, planner.is_complete(spec, out / "arms")) for spec in arms]
    still = [arm for arm in forecasts if not arm.complete]
    seconds, memory = side_by_side(still, cores)
    disk = planner.cached + sum(arm.disk for arm in still)
    busy = statistics.fmean(found.busy for found in planner.probes.values())
    return Forecast(forecasts, planner.preparing, seconds, memory, disk, busy)


class _Planner:
    def __init__(self, source: Path, scratch: Path, cores: int) -> None:
        study = load_study(source)
        self.cores = cores
        self.sites = StudySites(study, scratch, named_only=True)
        self.few = StudySites(study, scratch, on_prepared=self._prepared)
        self.few.contracts = [with_first_cases(contract, scratch) for contract in self.few.contracts]
        self.probes: dict[str, Probe] = {}
        self.seconds: dict[str, list[float]] = {}  # for a case, by site
        self.last = time.perf_counter()
        self.preparing, self.cached = 0.0, 0

    def is_complete(self, spec: ArmSpec, arms: Path) -> bool:
        """Tell whether the study would keep an arm's result; without one, no image is read to find out."""
        if not (arms / spec.name / "result.json").is_file():
            return False
        setting = self.sites.setting(spec)
        return has_result(setting.arm, setting.sites, arms)

    def forecast(self, spec: ArmSpec, complete: bool) -> ArmForecast:
        self.seconds, self.last = {}, time.perf_counter()
        few = self.few.setting(replace(spec, training_patients=(), ct_per_mr=0))
        counts = self.sites.cases(spec)
        experiment = few.arm.experiment
        if key_of(experiment) not in self.probes:
            self.probes[key_of(experiment)] = probe(few)
        measured = self.probes[key_of(experiment)]
        self._count_preparing(measured)
        whole = {name: _repeated(site, counts[name]) for name, site in few.sites.items()}
        return forecast_arm(replace(few, spec=spec, sites=whole), measured, self.cores, complete=complete)

    def _prepared(self, site: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self.seconds.setdefault(site, []).append(now - self.last)
        self.last = now

    def _count_preparing(self, measured: Probe) -> None:
        """Add all cases of the sites that were prepared for this arm, the first of its preprocessing and organs."""
        for contract in self.sites.contracts:
            if contract.site in self.seconds:
                seconds, cases = self.seconds[contract.site], sum(map(len, list_cases(contract).values()))
                self.preparing += cases * sum(seconds) / len(seconds)
                self.cached += cases * measured.sites[contract.site].cached


def _repeated(site: SiteData, counts: Mapping[Split, int]) -> SiteData:
    """Return a site that has its first case of each split so many times."""
    return SiteData(site.contract, {split: cases[:1] * counts[split] for split, cases in site.cases.items()})


def forecast_arm(setting: PlannedArm, measured: Probe, cores: int, *, complete: bool = False) -> ArmForecast:
    """Return what an arm needs, from what its parts need.

    Args:
        setting: with as many cases as the arm has.
        measured: of its setting.
        cores: of the study.
        complete: there is a result already.
    """
    arm, used = setting.arm, min(cores, cores_of(setting))
    checked = sum(_times(site, measured.sites[name].check) for name, site in setting.sites.items())
    tested = sum(_times(site, measured.sites[name].test, Split.TEST) for name, site in setting.sites.items())
    if isinstance(arm, FederatedArm):
        training = _federated_seconds(setting, arm, measured, used)
        members = len(arm.members(setting.sites))
        memory = (members + 1) * measured.memory + SERVER_BYTES
        copies = SERVER_COPIES + members * SITE_COPIES
    else:
        training = _pooled_seconds(setting, measured)
        memory, copies = measured.memory, POOLED_COPIES
    seconds = measured.start + checked + training + tested
    disk = copies * measured.weights
    augmentation, steps = arm.experiment.augmentation, steps_of_arm(setting)
    return ArmForecast(setting.spec, augmentation, steps, used, seconds, memory, disk, complete)


def _pooled_seconds(setting: PlannedArm, measured: Probe) -> float:
    arm = setting.arm
    assert isinstance(arm, PooledArm)
    validations = math.ceil(arm.rounds / arm.validate_every)
    scored = sum(
        _times(site, measured.sites[name].score, Split.VALIDATION)
        for name, site in setting.sites.items()
        if name != arm.left_out
    )
    return steps_of_arm(setting) * measured.step + validations * scored


def _federated_seconds(setting: PlannedArm, arm: FederatedArm, measured: Probe, cores: int) -> float:
    """Return the time of a run in the simulator, of which the slowest site, or the cores, set the pace.

    At its end the sites score the last and the best model on both splits, and each site's own model on one.
    """
    members, work = arm.members(setting.sites), []
    for name, site in members.items():
        alone = replace(setting, sites={name: site})
        validation, test = (_times(site, measured.sites[name].score, split) for split in (Split.VALIDATION, Split.TEST))
        own = measured.start + _times(site, measured.sites[name].check)
        work.append(
            own + steps_of_arm(alone) * measured.step + (arm.rounds + 2) * validation + (len(members) + 2) * test
        )
    # The simulator and its server start before the sites do.
    return 2 * measured.start + RUN_SECONDS + arm.rounds * ROUND_SECONDS + max(max(work), sum(work) / cores)


def _times(site: SiteData, seconds: float, split: Split | None = None) -> float:
    return seconds * sum(len(cases) for own, cases in site.cases.items() if split in (None, own))


def side_by_side(arms: Sequence[ArmForecast], cores: int) -> tuple[float, int]:
    """Return the seconds until all arms are complete, started as the study starts them, and the memory at most."""
    waiting, running = list(arms), list[tuple[float, ArmForecast]]()
    now, most = 0.0, 0
    while waiting or running:
        for arm in list(waiting):
            if sum(other.cores for _, other in running) + arm.cores <= cores:
                waiting.remove(arm)
                running.append((now + arm.seconds, arm))
        most = max(most, sum(arm.memory for _, arm in running))
        ended = min(running, key=lambda item: item[0])
        running.remove(ended)
        now = ended[0]
    return now, most
