import threading
from multiprocessing import Pipe
from typing import Any

import pytest
from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner

from fedgin.flare.run.simulator import NAME, OwnNames, Simulator


def test_each_thread_sends_the_name_that_it_wrote() -> None:
    shared = OwnNames({"server_host": "localhost", NAME: "last-made"})
    sent: dict[str, Any] = {}
    all_have_written = threading.Barrier(8, timeout=30)

    def send(site: str) -> None:
        here, there = Pipe()
        shared[NAME] = site
        all_have_written.wait()
        here.send({"build": shared})
        sent[site] = there.recv()["build"]

    threads = [threading.Thread(target=send, args=(f"site-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent == {f"site-{number}": {"server_host": "localhost", NAME: f"site-{number}"} for number in range(8)}
    assert {type(values) for values in sent.values()} == {dict}


def test_the_simulator_gives_its_threads_such_names(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(SimulatorRunner, "client_run", lambda self, *args: given.append(self.build_ctx))
    simulator = Simulator(job_folder="job", workspace="run", clients="a,b", threads=2)
    simulator.build_ctx = {"server_host": "localhost"}
    simulator.client_run("custom", [], None)
    assert type(given[0]) is OwnNames
    assert given[0] == {"server_host": "localhost"}
