"""The shield around training, with a real child process."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from fedgin.data.site import load_site
from fedgin.flare.client import site_process
from fedgin.flare.client.site_process import CrashError, Places, SiteProcess
from fedgin.fork_server import SOCKET
from fedgin.train.experiment import load_experiment
from fedgin.train.site.messages import Message
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import InterruptedTaskError, LocalUpdate
from tests.sites import tiny_experiment, write_site

LONG = 100_000


class Site:
    """Where a child works, and the lines that were logged about it."""

    def __init__(self, folder: Path, steps: int) -> None:
        contract = write_site(folder / "data", "site-1")
        training = {"local_steps": steps, "batch_size": 4}
        experiment = tiny_experiment(training=training).model_dump(mode="json")
        (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
        self.places = Places(folder / "experiment.yaml", contract, folder / "run", folder)
        network = load_experiment(self.places.experiment).initial_network()
        self.weights = {name: value.numpy() for name, value in network.state_dict().items()}
        self.lines: list[str] = []
        self.process = SiteProcess("site-1", self.places, self.lines.append)

    def train(self, stop: Callable[[], bool] = lambda: False, number: int = 0) -> LocalUpdate[NDArray[Any]]:
        return self.process.train(self.weights, number, 3, stop=stop)

    def undisturbed(self) -> LocalUpdate[Tensor]:
        experiment, contract = load_experiment(self.places.experiment), load_site(self.places.contract)
        session = SiteSession(experiment, contract, self.places.folder.with_name("undisturbed"))
        weights = {name: torch.from_numpy(value) for name, value in self.weights.items()}
        return session.train(weights, 0, 3, stop=lambda: False)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "fedgin.train.site.worker" in " ".join(child.cmdline())]


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Site]]:
    monkeypatch.delenv(SOCKET, raising=False)  # processes of their own, as at a hospital
    made: list[Site] = []

    def make(steps: int) -> Site:
        made.append(Site(tmp_path, steps))
        return made[-1]

    yield make
    for site in made:
        site.process.close()
    assert children() == []


class Killer:
    """Kills the child with -9, so often, each time when it has begun to train; the end of the block ends it, too."""

    def __init__(self, site: Site, times: int) -> None:
        self.scores = site.places.folder / "scores" / "validation_round_0000.csv"
        self.left = times
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._kill, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        assert self.left == 0, "the child was done before it was killed"

    def _kill(self) -> None:
        self.scores.unlink(missing_ok=True)
        while self.left and not self.over.wait(0.005):
            if self.scores.is_file():
                self.scores.unlink()
                children()[0].kill()
                self.left -= 1


def test_a_task_whose_process_was_killed_is_repeated_with_the_same_result(make_site: Callable[[int], Site]) -> None:
    site = make_site(60)
    with Killer(site, times=1):
        update = site.train()
    assert [line for line in site.lines if "SIGKILL" in line] == [
        "site site-1: the training process was ended by SIGKILL in task 'train'"
    ]
    expected = site.undisturbed()
    assert (update.metrics, update.weight, update.loss) == (expected.metrics, expected.weight, expected.loss)
    assert all(np.array_equal(update.difference[name], value.numpy()) for name, value in expected.difference.items())


def test_a_second_kill_is_a_clear_error_and_the_next_task_has_a_new_process(make_site: Callable[[int], Site]) -> None:
    site = make_site(60)
    with Killer(site, times=2), pytest.raises(CrashError) as caught:
        site.train()
    assert "site site-1: task 'train': the training process was ended by SIGKILL and again by SIGKILL" in str(
        caught.value
    )
    assert "memory" in caught.value.fix
    assert set(site.process.validate(site.weights, "model", stop=lambda: False)) >= {"test_dice_mean"}


PRINTS = """
import sys

class Loud:
    def find_spec(self, name, path=None, target=None):
        if name == WHEN:
            print("a library says hello", flush=True)

sys.meta_path.insert(0, Loud())
"""


def let_print(folder: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> Callable[[], bool]:
    """Let every Python that is started print when it imports a module; return a stop for who would wait without end."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PRINTS.replace("WHEN", repr(when)))
    monkeypatch.syspath_prepend(folder)
    end = time.monotonic() + 120
    return lambda: time.monotonic() > end


def test_what_a_library_prints_when_it_is_imported_is_no_answer(
    make_site: Callable[[int], Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(1)
    assert site.train(let_print(tmp_path / "loud", monkeypatch, "torch")).weight > 0
    assert not [line for line in site.lines if "ended" in line]


def test_a_line_before_the_first_answer_is_told_and_nobody_waits(
    make_site: Callable[[int], Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = let_print(tmp_path / "loud", monkeypatch, "fedgin")
    with pytest.raises(CrashError) as caught:
        make_site(1).train(stop)
    line = "a line on its standard output that is no answer"
    assert f"the training process was ended by {line} and again by {line}" in caught.value.problem
    assert "sitecustomize.py" in caught.value.fix


def test_an_abort_ends_the_task_but_not_the_process(
    make_site: Callable[[int], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine it may take more than five seconds until the process looks.
    monkeypatch.setattr("fedgin.flare.client.site_process.STOP_SECONDS", 60.0)
    site = make_site(LONG)
    scores = site.places.folder / "scores" / "validation_round_0000.csv"
    with pytest.raises(InterruptedTaskError):
        site.train(stop=scores.is_file)
    [child] = children()
    asked = itertools.count()
    with pytest.raises(InterruptedTaskError):
        site.train(stop=lambda: next(asked) > 20)
    assert children() == [child]


def test_a_process_that_does_not_heed_an_abort_is_killed(
    make_site: Callable[[int], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.flare.client.site_process.STOP_SECONDS", 0.3)
    site = make_site(LONG)

    def halted() -> bool:
        for child in children():
            child.send_signal(signal.SIGSTOP)
        return bool(children())

    with pytest.raises(InterruptedTaskError):
        site.train(stop=halted)
    assert children() == []


def test_an_abort_is_heeded_while_the_process_does_not_read_its_task(
    make_site: Callable[[int], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads when its imports are done, and a model is larger than what a pipe holds."""
    monkeypatch.setattr("fedgin.flare.client.site_process.STOP_SECONDS", 0.3)
    spawn = site_process.spawn

    def spawn_halted(places: Places) -> Any:
        child, *pipes = spawn(places)
        child.send_signal(signal.SIGSTOP)
        return child, *pipes

    monkeypatch.setattr(site_process, "spawn", spawn_halted)
    site, asked = make_site(1), itertools.count()
    with pytest.raises(InterruptedTaskError):
        site.process.validate({"weight": np.zeros(2**20)}, "model", stop=lambda: next(asked) > 5)
    assert children() == []


def test_neither_task_nor_answer_is_kept_while_nothing_is_said(
    make_site: Callable[[int], Site], monkeypatch: Any
) -> None:
    """A model each, for as long as a site trains or waits for the others."""

    def echo(places: Places) -> Any:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return child, child.stdin, child.stdout

    monkeypatch.setattr(site_process, "spawn", echo)
    connection, size = site_process._Connection(make_site(1).places), 2**24
    tracemalloc.start()
    try:
        connection.send(Message("model", {}, {"weight": np.zeros(size, np.uint8)}))
        answer = connection.received.get(timeout=30.0)
        assert answer is not None
        assert answer.arrays["weight"].nbytes == size
        del answer
        deadline = time.monotonic() + 10.0
        while (kept := tracemalloc.get_traced_memory()[0]) > size / 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        tracemalloc.stop()
        connection.end()
    assert kept < size / 2


WORKER = """
import sys
from pathlib import Path
from fedgin.flare.client.site_process import Places, SiteProcess
from fedgin.fork_server import SOCKET
from fedgin.train.experiment import load_experiment
places = Places(*(Path(text) for text in sys.argv[1:]))
network = load_experiment(places.experiment).initial_network()
weights = {name: value.numpy() for name, value in network.state_dict().items()}
SiteProcess("site-1", places, print).train(weights, 0, 3, stop=lambda: False)
"""


def test_the_process_does_not_outlive_a_worker_that_was_killed(make_site: Callable[[int], Site]) -> None:
    places = make_site(LONG).places
    paths = [str(path) for path in (places.experiment, places.contract, places.folder, places.runs)]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *paths], stdout=subprocess.DEVNULL, env=os.environ)
    while not (places.folder / "scores").exists():
        assert worker.poll() is None
        time.sleep(0.05)
    [child] = psutil.Process(worker.pid).children()
    worker.kill()
    worker.wait()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
