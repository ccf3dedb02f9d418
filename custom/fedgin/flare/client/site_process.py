"""A site's training in a process of its own, so that its crash does not end FLARE's worker and with it the job."""

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from fedgin.errors import FedginError
from fedgin.launch import Child, launch
from fedgin.train.site.messages import Message, pack_message, read_message, told_error
from fedgin.train.site.update import InterruptedTaskError, LocalUpdate

Stop = Callable[[], bool]
Log = Callable[[str], None]

ATTEMPTS = 2
POLL_SECONDS = 0.1
# A training step or a case may be under way when an abort comes; afterwards the process is killed.
STOP_SECONDS = 5.0

STRAY = "a line on its standard output that is no answer"
SILENCE = "let nothing at the site print when its Python starts, such as a sitecustomize.py"
MORE_MEMORY = "look for 'out of memory' in the site's system log; give it more memory or lower training.batch_size"


class CrashError(FedginError):
    """The training process died twice in the same task."""

    code = "FG-071"


@dataclass(frozen=True)
class Places:
    """Where a site's run finds and keeps its things.

    Attributes:
        experiment: the job's ``experiment.yaml``.
        contract: ``site.yaml``.
        folder: the folder of the session.
        runs: has a folder for each run of the site, by the job's id.
    """

    experiment: Path
    contract: Path
    folder: Path
    runs: Path


def spawn(places: Places) -> tuple[Child, BinaryIO, BinaryIO]:
    """Start :mod:`fedgin.train.site.worker`; return it with its input and output."""
    return launch("fedgin.train.site.worker", [places.experiment, places.contract, places.folder, places.runs])


class _Connection:
    """A running child.

    One thread sends it tasks, one collects its answers: that it reads and that it answers can both be given up.
    """

    def __init__(self, places: Places) -> None:
        self.child, self.tasks, self.answers = spawn(places)
        self.given: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self.received: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.stray = False
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._deliver, self._collect)]
        for thread in self.threads:
            thread.start()

    def _deliver(self) -> None:
        # A dead child is noticed by the end of its answers.
        with contextlib.suppress(OSError), self.tasks:
            while (packed := self.given.get()) is not None:
                self.tasks.writelines(packed)
                self.tasks.flush()
                del packed  # a model: the next may come in hours

    def _collect(self) -> None:
        try:
            while (message := read_message(self.answers)) is not None:
                self.received.put(message)
                del message
        except Exception:  # of many kinds, for a line that something else than the worker has written
            self.stray = True
        finally:
            self.received.put(None)

    def send(self, message: Message) -> None:
        """Send a message, when the child has read those before it."""
        self.given.put(pack_message(message))

    def end(self) -> str:
        """Kill the child where it still runs; return what ended it."""
        self.child.kill()
        self.given.put(None)
        code = self.child.wait()
        for thread in self.threads:
            thread.join()
        self.answers.close()
        if self.stray:
            return STRAY
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class SiteProcess:
    """The tasks of :class:`~fedgin.train.site.session.SiteSession`, done in a child process, started when needed.

    A child that dies in a task (out of memory, kill -9, a fault in native code) is started again once, and the task is
    repeated: what a session needs is on disk, so that the result is the same as without the crash.

    Args:
        site: its name, for messages.
        places: the places of the run's files.
        log: told of crashes and of preprocessing.
    """

    def __init__(self, site: str, places: Places, log: Log) -> None:
        self.site = site
        self.places = places
        self.log = log
        self._running: _Connection | None = None

    def train(
        self, received: Mapping[str, NDArray[Any]], round_number: int, rounds: int, *, stop: Stop
    ) -> LocalUpdate[NDArray[Any]]:
        """Validate and train; as :meth:`SiteSession.train`, but for ``rounds``.

        Args:
            received: the global model.
            round_number: the round, from 0.
            rounds: the rounds of this job; one that resumes another does not count those of the other.
            stop: asked ten times a second.

        Raises:
            CrashError: the child died twice.
        """
        done = self._do(Message("train", {"number": round_number, "rounds": rounds}, received), stop)
        return LocalUpdate(difference=dict(done.arrays), **done.values)

    def validate(
        self, weights: Mapping[str, NDArray[Any]], owner: str, *, candidate: bool = False, stop: Stop
    ) -> dict[str, Any]:
        """Score a model; as :meth:`SiteSession.validate` or :meth:`SiteEvaluation.validate`, and :meth:`train`."""
        task = Message("validate", {"owner": owner, "candidate": candidate}, weights)
        return dict(self._do(task, stop).values["metrics"])

    def local_model(self, *, stop: Stop) -> dict[str, NDArray[Any]]:
        """Return the weights after the last local training; as :meth:`SiteSession.local_model` and :meth:`train`."""
        return dict(self._do(Message("local_model"), stop).arrays)

    def close(self) -> str:
        """End the child and return what ended it, or nothing where there is none; a later task starts another."""
        running, self._running = self._running, None
        return running.end() if running else ""

    def _do(self, task: Message, stop: Stop) -> Message:
        causes = []
        for _ in range(ATTEMPTS):
            answer = self._attempt(task, stop)
            if answer is not None:
                return answer
            causes.append(self.close())
            self.log(f"site {self.site}: the training process was ended by {causes[-1]} in task '{task.kind}'")
        raise CrashError(
            f"site {self.site}: task '{task.kind}': the training process was ended by {' and again by '.join(causes)}",
            SILENCE if STRAY in causes else MORE_MEMORY,
        )

    def _attempt(self, task: Message, stop: Stop) -> Message | None:
        """Return the answer, or ``None`` when the child died."""
        if stop():
            raise InterruptedTaskError(self.site)
        self._running = self._running or _Connection(self.places)
        self._running.send(task)
        while True:
            answer = self._next_answer(self._running, stop)
            if answer is None or answer.kind == "done":
                return answer
            if answer.kind == "progress":
                self.log("{what} {done} of {total} cases".format(**answer.values))
            elif answer.kind == "stopped":
                raise InterruptedTaskError(self.site)
            else:
                raise told_error(answer)

    def _next_answer(self, running: _Connection, stop: Stop) -> Message | None:
        """Wait for an answer; pass an abort on, and kill a child that does not heed it."""
        stopped_at = None
        while True:
            if stopped_at is None and stop():
                stopped_at = time.monotonic()
                running.send(Message("stop"))
            with contextlib.suppress(queue.Empty):
                answer = running.received.get(timeout=POLL_SECONDS)
                if answer is None and stop():
                    break
                return answer
            if stopped_at is not None and time.monotonic() > stopped_at + STOP_SECONDS:
                break
        self.close()
        raise InterruptedTaskError(self.site)
