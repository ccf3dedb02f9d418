"""Run the arms of a study side by side, as many as the cores allow; complete arms are never run again."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedgin.data.datalist import Split
from fedgin.errors import FedginError, with_fix
from fedgin.study.arm_result import ArmResult, read_result
from fedgin.study.arms import PooledArm
from fedgin.study.plan import ArmSpec, Study, load_study
from fedgin.study.planned_arm import PlannedArm, StudySites
from fedgin.train.round_length import steps_of_round

Point = dict[str, float]
SECONDS_TO_STOP = 45.0


class StudyError(FedginError):
    """An arm failed; complete arms are kept."""

    code = "FG-080"


class StudyListener(Protocol):
    """Is told how far the study is."""

    def preparing(self, site: str, done: int, total: int) -> None:
        """One more case of a site is preprocessed."""

    def left_out(self, site: str, organs: Sequence[str]) -> None:
        """A site labels none of the organs of some arms and takes no part in them."""

    def planned(self, arms: int, complete: int) -> None:
        """So many arms are to be reported, so many of them were complete before."""

    def started(self, spec: ArmSpec) -> None:
        """An arm starts."""

    def round_done(self, spec: ArmSpec, point: Point, rounds: int) -> None:
        """An arm's network was validated: ``round`` and the mean Dice by modality."""

    def ended(self, spec: ArmSpec, seconds: float, left: float, problem: str) -> None:
        """An arm ended, with a problem or none; ``left`` estimates the seconds that the study still needs."""


def run_study(source: Path, out: Path, listener: StudyListener, *, cores: int) -> list[tuple[ArmSpec, ArmResult]]:
    """Run what is not complete yet and return every arm's result in the study's order.

    Args:
        source: the ``study.yaml``.
        out: folder of the study; the same folder continues it.
        listener: told of progress, in this thread.
        cores: how many to use. A federated arm takes one a site, any other arm one.

    Raises:
        FedginError: settings or data are wrong, before anything runs.
        StudyError: arms failed; the others were completed before it is raised.
    """
    study = load_study(source)
    settings = _prepare(study, out, listener)
    open_arms = [setting for setting in settings if _result(setting) is None]
    listener.planned(len(settings), len(settings) - len(open_arms))
    failed = _Crew(source, out, listener, cores).run(open_arms)
    if failed:
        raise StudyError(
            f"{len(failed)} arms failed, first {failed[0]}", f"see {out / 'arms'}/ARM.log; then run it again"
        )
    return [(setting.spec, _complete(setting)) for setting in settings]


def _prepare(study: Study, out: Path, listener: StudyListener) -> list[PlannedArm]:
    sites = StudySites(study, out, on_prepared=listener.preparing, on_left_out=listener.left_out)
    return [sites.setting(spec) for spec in sites.arms()]


def _result(setting: PlannedArm) -> ArmResult | None:
    return read_result(setting.arm, setting.sites, setting.home.parent)


def _complete(setting: PlannedArm) -> ArmResult:
    result = _result(setting)
    if result is None:
        raise StudyError(f"arm {setting.spec.name} left no result", "run the study again; was its folder changed?")
    return result


@dataclass
class _Running:
    """A worker process and what it has said."""

    setting: PlannedArm
    process: "subprocess.Popen[str]"
    cores: int
    started: float = field(default_factory=time.monotonic)
    rounds: int = 0
    problem: str = ""


class _Crew:
    """Workers side by side; a thread for each hands its lines to the caller's thread."""

    def __init__(self, source: Path, out: Path, listener: StudyListener, cores: int) -> None:
        self.source, self.out, self.listener, self.cores = source, out, listener, cores
        self.running: dict[str, _Running] = {}
        self.lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self.pace = _Pace(cores)

    def run(self, arms: Sequence[PlannedArm]) -> list[str]:
        """Run all arms; return ``NAME: problem`` of those that failed."""
        waiting, failed = list(arms), list[str]()
        try:
            while waiting or self.running:
                self._start_what_fits(waiting)
                name, line = self.lines.get()
                if line is not None:
                    self._hear(self.running[name], line)
                    continue
                problem = self._close(self.running.pop(name), waiting)
                if problem:
                    failed.append(f"{name}: {problem}")
        finally:
            self._stop()
        return failed

    def _start_what_fits(self, waiting: list[PlannedArm]) -> None:
        free = self.cores - sum(worker.cores for worker in self.running.values())
        for setting in list(waiting):
            need = min(self.cores, cores_of(setting))
            if need <= free:
                waiting.remove(setting)
                self._start(setting, need)
                free -= need

    def _start(self, setting: PlannedArm, cores: int) -> None:
        name = setting.spec.name
        setting.home.mkdir(parents=True, exist_ok=True)
        with setting.home.with_name(f"{name}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fedgin.study.arm_worker", str(self.source), name, str(self.out)],
                stdin=subprocess.PIPE,  # its end tells the worker that this process has ended
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # One thread for all libraries, as :class:`StudySites` sets for training.
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.running[name] = _Running(setting, process, cores)
        threading.Thread(target=self._listen, args=(name, process), daemon=True).start()
        self.listener.started(setting.spec)

    def _listen(self, name: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                self.lines.put((name, line))
        self.lines.put((name, None))

    def _hear(self, worker: _Running, line: str) -> None:
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            return  # a library's own words
        if "problem" in said:
            worker.problem = with_fix(said["problem"], said["fix"])
        elif "round" in said:
            worker.rounds = int(said["round"])
            self.listener.round_done(worker.setting.spec, said, worker.setting.arm.rounds)

    def _close(self, worker: _Running, waiting: Sequence[PlannedArm]) -> str:
        code = worker.process.returncode
        problem = worker.problem or (f"its process ended with code {code}" if code else "")
        seconds = time.monotonic() - worker.started
        if not problem:
            self.pace.learn(worker.setting, seconds * worker.cores)
        left = self.pace.left(waiting, list(self.running.values()))
        self.listener.ended(worker.setting.spec, seconds, left, problem)
        return problem

    def _stop(self) -> None:
        """End every worker and what it started; a federated one stops its simulator when it is interrupted."""
        for worker in self.running.values():
            _signal(worker.process, signal.SIGINT)
        for worker in self.running.values():
            try:
                worker.process.wait(timeout=SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                _signal(worker.process, signal.SIGKILL)


class _Pace:
    """Estimates the time that is left from the arms that this call has completed."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.spent, self.steps = 0.0, 0

    def learn(self, setting: PlannedArm, core_seconds: float) -> None:
        self.spent += core_seconds
        self.steps += steps_of_arm(setting)

    def left(self, waiting: Sequence[PlannedArm], running: Sequence[_Running]) -> float:
        """Return seconds, or NaN before the first arm is complete."""
        if not self.steps:
            return float("nan")
        steps = sum(map(steps_of_arm, waiting)) + sum(
            steps_of_arm(worker.setting) * (1 - worker.rounds / worker.setting.arm.rounds) for worker in running
        )
        return steps * self.spent / self.steps / self.cores


def cores_of(setting: PlannedArm) -> int:
    """Return how many processes of an arm compute at the same time."""
    return len(setting.arm.members(setting.sites)) if setting.spec.regime == "federated" else 1


def steps_of_arm(setting: PlannedArm) -> int:
    """Return the optimiser steps of an arm, of all its sites together."""
    arm = setting.arm
    groups = [site.cases[Split.TRAINING] for site in arm.members(setting.sites).values()]
    if isinstance(arm, PooledArm):
        groups = [[case for cases in groups for case in cases]]
    return arm.rounds * sum(steps_of_round(arm.experiment, cases) for cases in groups)


def _signal(process: "subprocess.Popen[str]", sign: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
