"""The process in which a site trains: ``python -m fedgin.train.site.worker EXPERIMENT SITE_YAML FOLDER RUNS``.

Tasks come in on standard input, answers go out on standard output, both as :mod:`fedgin.train.site.messages`. Whoever
started it survives its crash. It never outlives its starter: the end of standard input ends it at once, as in
:mod:`fedgin.processes`.
"""

from fedgin.processes import own_output

# Before all other imports: what a library prints in its own must not get between the answers.
if __name__ == "__main__":
    ANSWERS = own_output()

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from numpy.typing import NDArray
from torch import Tensor

from fedgin.data.prepare import Progress
from fedgin.data.site import load_site
from fedgin.errors import ConfigError, FedginError, unforeseen
from fedgin.train.experiment import EVALUATED_MODEL, load_experiment
from fedgin.train.site.evaluation import SiteEvaluation
from fedgin.train.site.messages import Message, error_message, read_message, write_message
from fedgin.train.site.resume import open_folder
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import InterruptedTaskError


class Worker:
    """Does tasks one by one with one session; in a job that scores a bundle, with one :class:`SiteEvaluation`.

    Args:
        arguments: paths of ``experiment.yaml``, of ``site.yaml``, of the session's folder, and of the folder that has
            a folder for each run of the site.
        tasks: where they come from.
        answers: where they go.
    """

    def __init__(self, arguments: list[str], tasks: BinaryIO, answers: BinaryIO) -> None:
        self.experiment, self.contract, self.folder, self.runs = (Path(text) for text in arguments)
        self.tasks, self.answers = tasks, answers
        self.stop = threading.Event()
        self.waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.session: SiteSession | SiteEvaluation | None = None

    def listen(self, at_end: Callable[[], None]) -> None:
        """Read tasks and aborts; call ``at_end`` when there will be no more."""
        while (message := read_message(self.tasks)) is not None:
            if message.kind == "stop":
                self.stop.set()
            else:
                self.stop.clear()
                self.waiting.put(message)
        at_end()

    def answer_next(self) -> None:
        """Wait for a task, do it, and answer with its result or with what went wrong."""
        task = self.waiting.get()
        try:
            answer = self._do(task)
        except InterruptedTaskError as error:
            answer = Message("stopped", {"problem": error.problem, "fix": error.fix})
        except Exception as error:
            answer = error_message(error if isinstance(error, FedginError) else unforeseen(error, task.kind))
        write_message(self.answers, answer)

    def _do(self, task: Message) -> Message:
        session = self._open()
        stop = self.stop.is_set
        if isinstance(session, SiteEvaluation):
            if task.kind != "validate":
                raise ConfigError(f"task '{task.kind}' in a job that evaluates", "use this package's job on the server")
            owner = str(task.values["owner"])
            scored = session.validate(_to_tensors(task.arrays), owner, stop=stop, progress=self._telling("scored"))
            return Message("done", {"metrics": scored})
        if task.kind == "train":
            earlier = session.experiment.resumes.round if session.experiment.resumes else 0
            total = earlier + int(task.values["rounds"])  # FLARE counts the rounds of this job only
            update = session.train(_to_tensors(task.arrays), int(task.values["number"]), total, stop=stop)
            values = {name: value for name, value in vars(update).items() if name != "difference"}
            return Message("done", values, _to_arrays(update.difference))
        if task.kind == "validate":
            owner, candidate = str(task.values["owner"]), bool(task.values["candidate"])
            metrics = session.validate(_to_tensors(task.arrays), owner, candidate=candidate, stop=stop)
            return Message("done", {"metrics": metrics})
        return Message("done", arrays=_to_arrays(session.local_model()))

    def _open(self) -> SiteSession | SiteEvaluation:
        if self.session is None:
            contract, experiment = load_site(self.contract), load_experiment(self.experiment)
            told = self._telling("preprocessed")

            def report(done: int, total: int) -> None:
                told(done, total)
                if self.stop.is_set():  # finished cases stay in the cache
                    raise InterruptedTaskError(contract.site)

            if experiment.evaluates:
                model = self.experiment.with_name(EVALUATED_MODEL)
                self.session = SiteEvaluation(experiment, contract, self.folder, model, progress=report)
            else:
                open_folder(experiment, self.folder, self.runs)
                self.session = SiteSession(experiment, contract, self.folder, progress=report, source=self.contract)
        return self.session

    def _telling(self, what: str) -> Progress:
        def tell(done: int, total: int) -> None:
            write_message(self.answers, Message("progress", {"what": what, "done": done, "total": total}))

        return tell


def _to_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def main(answers: BinaryIO | None = None) -> None:
    """Serve until standard input ends.

    Args:
        answers: where they go; standard output where nobody has taken it yet.
    """
    # Ctrl-C reaches the whole group; the starter decides what becomes of the task.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(sys.argv[1:], sys.stdin.buffer, answers or own_output())
    threading.Thread(target=worker.listen, args=(lambda: os._exit(0),), daemon=True).start()
    while True:
        worker.answer_next()


if __name__ == "__main__":
    main(ANSWERS)
