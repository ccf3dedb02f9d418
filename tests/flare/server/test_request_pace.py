"""How soon a site that waits asks again, on FLARE's own runner of a job at the server."""

from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.shareable import Shareable
from nvflare.private.defs import SpecialTaskName, TaskConstant
from nvflare.private.fed.server.server_runner import ServerRunner, ServerRunnerConfig

from fedgin.flare.server.request_pace import LONGEST, SHARE, RequestPace, pause

JOB = "0f7a2a3c-2f5e-4a54-9d5c-6a3d3b0f9a11"
LEAST = 0.1


class Server:
    """FLARE's runner of a job, and what it answers at a time of ours."""

    def __init__(self, least: float = LEAST) -> None:
        self.now = 0.0
        self.part = RequestPace(lambda: self.now)
        self.engine = Mock(spec=ServerEngineSpec)
        self.engine.fire_event = self.part.handle_event
        config = ServerRunnerConfig(60, least, [], {}, {})
        self.runner = ServerRunner(config, JOB, self.engine)
        self.runner.status = "started"
        self.runner.current_wf = Mock(id="training")
        self.part.handle_event(EventType.START_RUN, self._context("nobody"))

    def _context(self, site: str) -> FLContext:
        context, peer = FLContext(), FLContext()
        for key, value in ((ReservedKey.IDENTITY_NAME, site), (ReservedKey.RUN_NUM, JOB)):
            peer.set_prop(key, value, private=False, sticky=False)
        context.set_peer_context(peer)
        for key, value in ((ReservedKey.ENGINE, self.engine), (FLContextKey.RUNNER, self.runner)):
            context.set_prop(key, value, private=True, sticky=False)
        return context

    def ask(self, site: str, task: str = "") -> float:
        """Let a site ask for work, of which there is this; return the seconds after which it asks again."""
        found = (task, "an id", Shareable()) if task else ("", "", None)
        self.runner.current_wf.controller.communicator.process_task_request.return_value = found
        name, _, answer = self.runner.process_task_request(Client(site, f"{site} 1"), self._context(site))
        assert name == (task or SpecialTaskName.TRY_AGAIN)
        seconds: float = answer.get_header(TaskConstant.WAIT_TIME)
        return seconds

    def wait(self, site: str, seconds: float) -> tuple[int, float]:
        """Let a site wait for work; return how often it asks, and how long after the time it notices."""
        end, times = self.now + seconds, 0
        while self.now < end:
            self.now += self.ask(site)
            times += 1
        return times, self.now - end


@given(st.floats(0, 1e6), st.floats(0.05, 60))
def test_a_pause_is_a_share_of_the_wait_between_the_least_and_the_most(waited: float, least: float) -> None:
    assert least <= pause(waited, least) <= max(least, LONGEST)
    assert pause(waited, least) <= max(least, SHARE * waited)
    assert pause(waited, least) <= pause(waited + 1, least)


def test_a_site_that_waits_for_an_hour_asks_seldom_and_notices_soon() -> None:
    times, late = Server().wait("ct-a", 3600.0)
    assert times < 3600 / LONGEST + 100  # FLARE alone: 36,000
    assert late <= LONGEST


@given(st.floats(0.1, 600.0))
def test_a_round_is_noticed_late_by_a_twentieth_at_most(seconds: float) -> None:
    _, late = Server().wait("ct-a", seconds)
    assert late <= LEAST + SHARE * seconds


def test_who_is_given_work_asks_soon_after_it_and_waits_anew() -> None:
    server = Server()
    server.wait("ct-a", 600.0)
    assert server.ask("ct-a", "train") == LEAST
    server.now += 3600.0  # of training
    assert server.ask("ct-a") == LEAST


def test_each_site_has_a_wait_of_its_own() -> None:
    server = Server()
    server.wait("ct-a", 600.0)
    assert server.ask("mr-a") == LEAST
    assert server.ask("ct-a") == LONGEST


def test_a_longer_interval_of_a_job_stays_as_it_is() -> None:
    server = Server(least=5.0)
    assert server.wait("ct-a", 600.0)[0] == 120
