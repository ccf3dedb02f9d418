import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.fl_constant import MachineStatus
from nvflare.private.fed.app.simulator import simulator_runner
from nvflare.private.fed.app.simulator.simulator_runner import SimulatorClientRunner, SimulatorRunner

from fedgin.flare.run.simulated_sites import SimulatedSites
from fedgin.flare.run.simulator import NAME, OwnNames, Simulator, SiteRunner


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


class Job:
    """What of FLARE's server the runner of the sites asks and tells."""

    def __init__(self, status: str = "started") -> None:
        self.status, self.aborted = status, 0

    def abort(self) -> None:
        self.aborted += 1


def runner(job: Job) -> SiteRunner:
    arguments = SimpleNamespace(workspace="run", threads=2, set=None)
    given: tuple[Any, ...] = ("custom", arguments, [], {}, None, {})
    running, processes = (lambda: job.status == "started"), SimulatedSites()
    return SiteRunner(*given, running=running, abort=job.abort, processes=processes)


Outcome = tuple[bool, object, str | None] | Exception
SITE = SimpleNamespace(client_name="mr-a")
WENT_ON, HEARD_THE_END = (False, SITE, None), (True, SITE, "mr-a")
LOST: list[Outcome] = [
    (True, None, "mr-a"),  # FLARE saw the process or its connection end
    (True, SITE, None),  # the process said that it stops for an error of its own
    RuntimeError("Failed to create connection to the child process"),
]


def outcomes(monkeypatch: pytest.MonkeyPatch, results: Sequence[Outcome]) -> Iterator[Outcome]:
    """Let FLARE's own runner have these results, one after the other."""
    left = iter(results)

    def do_one_task(self: object, client: object) -> object:
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(SimulatorClientRunner, "do_one_task", do_one_task)
    return left


@pytest.mark.parametrize("lost", LOST, ids=["ended", "gave up", "not started"])
@pytest.mark.parametrize("then", [WENT_ON, HEARD_THE_END], ids=["goes on", "hears the end"])
def test_a_site_s_process_that_ended_is_started_again(
    monkeypatch: pytest.MonkeyPatch, lost: Outcome, then: Outcome
) -> None:
    job = Job()
    left = outcomes(monkeypatch, [lost, lost, then])
    assert runner(job).do_one_task(SITE) == then
    assert (job.aborted, list(left)) == (0, [])


@pytest.mark.parametrize("lost", LOST, ids=["ended", "gave up", "not started"])
def test_the_job_ends_with_its_reason_when_a_process_ends_too_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lost: Outcome
) -> None:
    job = Job()
    left = outcomes(monkeypatch, [lost] * 3)
    with caplog.at_level("ERROR"):
        assert runner(job).do_one_task(SITE) == (True, None, "mr-a")
    assert (job.aborted, list(left)) == (1, [])
    assert [record.message for record in caplog.records] == ["the process of site mr-a ended before the job, 3 times"]


def test_no_process_is_started_again_after_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(status="done")
    left = outcomes(monkeypatch, [LOST[0], WENT_ON])
    assert runner(job).do_one_task(SITE) == LOST[0]
    assert (job.aborted, list(left)) == (0, [WENT_ON])


def test_two_threads_never_choose_one_site() -> None:
    """With fewer threads than sites, each chooses its next site while it still runs the one before."""
    runs = runner(Job())
    runs.federated_clients = [SimpleNamespace(client_name=name, simulate_running=False) for name in "abc"]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:

        def choose(thread: ThreadPoolExecutor) -> Any:
            return thread.submit(runs.get_next_run_client, None).result(timeout=30)

        first, second = choose(one), choose(two)
        first.simulate_running = second.simulate_running = True
        third = choose(one)
        assert {site.client_name for site in (first, second, third)} == {"a", "b", "c"}
        assert choose(two) is second
        first.simulate_running, third.simulate_running = False, True
        assert choose(two) is first


def test_the_job_ends_when_a_site_s_thread_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """FLARE ends it silently at any exception, and where a site has ended its own part of the job."""
    job = Job()
    outcomes(monkeypatch, [HEARD_THE_END])

    def one_task(self: SiteRunner, *_: object, **__: object) -> None:
        self.do_one_task(SITE)

    monkeypatch.setattr(SimulatorClientRunner, "run_client_thread", one_task)
    with caplog.at_level("ERROR"):
        runner(job).run_client_thread(1, None, threading.Lock(), False, timeout=60)
    assert job.aborted == 1
    assert [record.message for record in caplog.records] == ["site mr-a has left the job, which waits for it"]


def test_a_thread_that_ends_after_the_job_aborts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("done")
    monkeypatch.setattr(SimulatorClientRunner, "run_client_thread", lambda *_, **__: None)
    runner(job).run_client_thread(1, None, threading.Lock(), False, timeout=60)
    assert job.aborted == 0


@pytest.mark.parametrize(
    ("status", "machine", "runs"),
    [
        ("init", MachineStatus.STARTED, True),  # what a server prepares takes longer than a site's start
        ("started", MachineStatus.STARTED, True),
        ("done", MachineStatus.STARTED, False),
        ("init", MachineStatus.STOPPED, False),  # it could not be prepared
    ],
)
def test_a_job_is_over_when_it_was_done_or_its_server_ended(status: str, machine: MachineStatus, runs: bool) -> None:
    simulator = Simulator(job_folder="job", workspace="run", clients="a,b", threads=2)
    engine = SimpleNamespace(engine_info=SimpleNamespace(status=machine))
    simulator.server = SimpleNamespace(server_runner=Job(status), engine=engine)
    assert simulator._runs() is runs


def test_nobody_else_gets_the_port_that_a_simulated_server_will_listen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Simulator) -> int:
        (port,) = self.deployer.open_ports
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("", port))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as FLARE's server does
            server.bind(("127.0.0.1", port))
            server.listen()
            socket.create_connection(("localhost", port)).close()
        return 7

    monkeypatch.setattr(SimulatorRunner, "run", run)
    assert Simulator(job_folder="job", workspace="run", clients="a,b", threads=2).run() == 7


def test_the_simulator_gives_its_threads_such_names(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(SiteRunner, "run", lambda self, gpu: given.append(self.build_ctx))
    monkeypatch.setattr(simulator_runner, "subprocess", simulator_runner.subprocess)  # put back afterwards
    simulator = Simulator(job_folder="job", workspace="run", clients="a,b", threads=2)
    simulator.build_ctx, simulator.deploy_args, simulator.client_config = {"server_host": "localhost"}, None, {}
    simulator.args = SimpleNamespace(set=None, workspace="run")
    simulator.server = SimpleNamespace(server_runner=Job(), abort_run=Job().abort)
    simulator.client_run("custom", [], None)
    assert type(given[0]) is OwnNames
    assert given[0] == {"server_host": "localhost"}
