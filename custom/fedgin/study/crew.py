"""The processes in which arms run: as many side by side as the cores allow, and none that another call runs."""

import io
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fedgin.errors import with_fix
from fedgin.launch import Child, launch
from fedgin.processes import few_threads
from fedgin.study.arm_result import read_result
from fedgin.study.claims import RENEW_SECONDS, Claims
from fedgin.study.listener import StudyListener
from fedgin.study.planned_arm import PlannedArm
from fedgin.study.workload import cores_of, steps_of_arm

SECONDS_TO_STOP = 45.0
# Between two looks at the arms of other calls.
LOOK_SECONDS = 5.0


@dataclass
class _Running:
    """A worker process and what it has said.

    Attributes:
        input: the worker's; its end, with this process's, tells the worker that this process has ended.
    """

    setting: PlannedArm
    process: Child
    input: BinaryIO
    cores: int
    started: float = field(default_factory=time.monotonic)
    rounds: int = 0
    problem: str = ""
    lost: bool = False


class Crew:
    """Workers side by side; a thread for each hands its lines to the caller's thread.

    Args:
        source: the ``study.yaml``.
        out: folder of the study.
        listener: told of progress, in the caller's thread.
        cores: how many to use.
    """

    def __init__(self, source: Path, out: Path, listener: StudyListener, cores: int) -> None:
        self.source, self.out, self.listener, self.cores = source, out, listener, cores
        self.running: dict[str, _Running] = {}
        self.lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self.pace = _Pace(cores)
        self.claims = Claims(out / "claims")
        self.elsewhere: dict[str, float] = {}  # arms of other calls, and when to look again
        self.renewed = time.monotonic()

    def run(self, arms: Sequence[PlannedArm]) -> list[str]:
        """Run all arms; return ``NAME: problem`` of those that failed."""
        waiting, failed = list(arms), list[str]()
        try:
            while waiting or self.running:
                self._start_what_fits(waiting)
                self._renew()
                try:
                    name, line = self.lines.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    continue
                if line is not None:
                    self._hear(self.running[name], line)
                    continue
                worker = self.running.pop(name)
                with worker.input:
                    code = worker.process.wait()
                if worker.lost:
                    waiting.append(worker.setting)
                elif problem := self._close(worker, code, waiting):
                    failed.append(f"{name}: {problem}")
        finally:
            self._stop()
        return failed

    def _start_what_fits(self, waiting: list[PlannedArm]) -> None:
        free = self.cores - sum(worker.cores for worker in self.running.values())
        for setting in list(waiting):
            need = min(self.cores, cores_of(setting))
            if need > free or not self._take(setting):
                continue
            waiting.remove(setting)
            if read_result(setting.arm, setting.sites, setting.home.parent) is None:
                self._start(setting, need)
                free -= need
            else:  # another call has just completed it
                self.claims.release(setting.spec.name)

    def _take(self, setting: PlannedArm) -> bool:
        """Claim an arm, unless another call has it; such an arm is looked at again after a while."""
        name, now = setting.spec.name, time.monotonic()
        if now < self.elsewhere.get(name, now):
            return False
        if self.claims.take(name):
            return True
        if name not in self.elsewhere:
            self.listener.elsewhere(setting.spec, self.claims.owner(name))
        self.elsewhere[name] = now + LOOK_SECONDS
        return False

    def _renew(self) -> None:
        if time.monotonic() - self.renewed < RENEW_SECONDS:
            return
        self.renewed = time.monotonic()
        for name in self.claims.renew():
            worker = self.running[name]
            worker.lost = True
            worker.process.kill()

    def _start(self, setting: PlannedArm, cores: int) -> None:
        name = setting.spec.name
        setting.home.mkdir(parents=True, exist_ok=True)
        words = [self.source, name, self.out]
        with setting.home.with_name(f"{name}.log").open("w", encoding="utf-8") as log:
            # One thread for all libraries, as :class:`StudySites` sets for training.
            started = launch("fedgin.study.arm_worker", words, error=log.fileno(), variables=few_threads(1))
        process, given, said = started
        self.running[name] = _Running(setting, process, given, cores)
        threading.Thread(target=self._listen, args=(name, said), daemon=True).start()
        self.listener.started(setting.spec)

    def _listen(self, name: str, said: BinaryIO) -> None:
        with io.TextIOWrapper(said, encoding="utf-8") as lines:
            for line in lines:
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

    def _close(self, worker: _Running, code: int, waiting: Sequence[PlannedArm]) -> str:
        problem = worker.problem or (f"its process ended with code {code}" if code else "")
        self.claims.release(worker.setting.spec.name)
        seconds = time.monotonic() - worker.started
        if not problem:
            self.pace.learn(worker.setting, seconds * worker.cores)
        left = self.pace.left(waiting, list(self.running.values()))
        self.listener.ended(worker.setting.spec, seconds, left, problem)
        return problem

    def _stop(self) -> None:
        """End every worker and what it started; a federated one stops its simulator when it is interrupted."""
        for worker in self.running.values():
            worker.process.send_signal(signal.SIGINT)
        for worker in self.running.values():
            try:
                worker.process.wait(timeout=SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                worker.process.kill()
            worker.input.close()
            self.claims.release(worker.setting.spec.name)


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
