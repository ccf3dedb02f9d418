"""The training process of a site as threads of the test's process: quick to start, and open to monkeypatch."""

import os
import threading
from typing import BinaryIO

from fedgin.flare.client.site_process import Places
from fedgin.launch import Child
from fedgin.train.site.worker import Worker


class Threads:
    """Stands for a child process."""

    pid = 0

    def kill(self) -> None: ...

    def send_signal(self, sign: int, /) -> None: ...

    def wait(self, timeout: float | None = None) -> int:
        return 0


def spawn_in_process(places: Places) -> tuple[Child, BinaryIO, BinaryIO]:
    task_end, tasks = os.pipe()
    answers, answer_end = os.pipe()
    arguments = [str(path) for path in (places.experiment, places.contract, places.folder, places.runs)]
    worker = Worker(arguments, os.fdopen(task_end, "rb"), os.fdopen(answer_end, "wb"))

    def serve() -> None:
        while True:
            worker.answer_next()

    threading.Thread(target=worker.listen, args=(worker.answers.close,), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    return Threads(), os.fdopen(tasks, "wb"), os.fdopen(answers, "rb")
