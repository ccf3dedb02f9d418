"""Whose message it is, with FLARE's own agent of a job's process at the server, and its TensorBoard receiver."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.analytix import AnalyticsDataType
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import EventScope, FedEventHeader, FLContextKey, ReservedKey, ServerCommandNames
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.utils.analytix_utils import create_analytic_dxo
from nvflare.app_opt.tracking.tb.tb_receiver import TBAnalyticsReceiver
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.private.defs import CellMessageHeaderKeys, new_cell_message
from nvflare.private.fed.server.server_command_agent import ServerCommandAgent
from nvflare.private.fed.server.server_state import HotState
from nvflare.widgets.fed_event import FedEventRunner

from fedgin.flare.protocol import DICE, METRICS_SENT
from fedgin.flare.server.round_recorder import RoundRecorder
from fedgin.flare.server.sender import sender
from tests.flare.runs import came_from

TOPIC = "fed.event"


class JobProcess:
    """A job's process at the server to which two sites have brought their tokens; it writes their metrics."""

    def __init__(self, folder: Path) -> None:
        RoundRecorder()  # what it sets holds for the process
        self.folder, self.ended, self.received = folder, Signal(), list[str]()
        self.engine = Mock()
        self.engine.new_context = self._new_context
        self.engine.get_workspace.return_value.get_run_dir.return_value = str(folder)
        self.engine.dispatch = self._dispatch
        self.engine.fire_event = self._fire
        self.clients = {f"token of {name}": Client(name, f"token of {name}") for name in ("hospital-a", "hospital-b")}
        self.engine.server = SimpleNamespace(
            client_manager=SimpleNamespace(clients=self.clients),
            server_state=HotState(),
            authentication_check=lambda request, state: None,
        )
        self.agent = ServerCommandAgent(self.engine, Mock())
        self.receiver = TBAnalyticsReceiver(events=[METRICS_SENT])
        context = self._new_context()
        context.set_prop(ReservedKey.RUN_ABORT_SIGNAL, self.ended, private=True, sticky=False)
        self.receiver.handle_event(EventType.START_RUN, context)
        FedEventRunner().handle_event(EventType.START_RUN, context)
        self._receive = self.engine.register_aux_message_handler.call_args.kwargs["message_handle_func"]

    def _new_context(self) -> FLContext:
        return FLContextManager(self.engine, "server", "job", {}, {}).new_context()

    def _dispatch(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
        reply: Shareable = self._receive(topic, request, fl_ctx)
        return reply

    def _fire(self, event_type: str, fl_ctx: FLContext) -> None:
        assert fl_ctx.get_prop(FLContextKey.EVENT_SCOPE) == EventScope.FEDERATION
        self.receiver.handle_event(event_type, fl_ctx)
        self.received.append(fl_ctx.get_prop(FLContextKey.EVENT_DATA).get_peer_prop(ReservedKey.IDENTITY_NAME, None))

    def send(self, site: str, named: object) -> str:
        """Let a site send a metric under a name; return the code of the answer."""
        metric = create_analytic_dxo(DICE, 0.01, AnalyticsDataType.SCALAR, global_step=3).to_shareable()
        metric.set_header(FedEventHeader.EVENT_TYPE, METRICS_SENT)
        metric.set_header(FedEventHeader.TIMESTAMP, time.time())
        metric.set_peer_props(named if isinstance(named, dict) else {ReservedKey.IDENTITY_NAME: named})
        headers = {MessageHeaderKey.TOPIC: TOPIC, CellMessageHeaderKeys.TOKEN: f"token of {site}"}
        answer = self.agent.aux_communicate(new_cell_message(headers, metric))
        return str(answer.get_header(MessageHeaderKey.RETURN_CODE))

    def ask(self, site: str, named: object) -> str:
        """Let a site ask for a task under a name; return the code of the answer."""
        request = Shareable()
        if named is not None:
            context = FLContext()
            context.set_prop(ReservedKey.IDENTITY_NAME, named, private=False, sticky=True)
            request.set_peer_context(context)
        headers = {MessageHeaderKey.TOPIC: ServerCommandNames.GET_TASK, CellMessageHeaderKeys.TOKEN: f"token of {site}"}
        answer = self.agent.execute_command(new_cell_message(headers, request))
        return str(answer.get_header(MessageHeaderKey.RETURN_CODE))

    @property
    def folders(self) -> set[str]:
        return {path.name for path in (self.folder / "tb_events").iterdir()}


@pytest.fixture
def process(tmp_path: Path) -> Any:
    made = JobProcess(tmp_path)
    yield made
    made.ended.trigger(True)  # FLARE's thread waits for that


def test_a_site_s_metrics_come_under_its_own_name_alone(process: JobProcess) -> None:
    for site, named in (
        *(("hospital-a", "hospital-b"), ("hospital-a", "server"), ("hospital-a", None), ("hospital-a", {})),
        *(("hospital-c", "hospital-c"), ("hospital-c", "hospital-a")),
    ):
        assert process.send(site, named) == ReturnCode.AUTHENTICATION_ERROR
    assert process.send("hospital-a", "hospital-a") == ReturnCode.OK
    end = time.monotonic() + 10.0
    while not process.received and time.monotonic() < end:
        time.sleep(0.01)
    assert process.received == ["hospital-a"]
    assert process.folders == {"hospital-a"}


def test_nobody_but_a_site_itself_says_that_it_is_alive(process: JobProcess) -> None:
    for site, named in (
        *(("hospital-a", "hospital-b"), ("hospital-a", "server"), ("hospital-a", None)),
        *(("hospital-c", "hospital-c"), ("hospital-c", "hospital-a")),
    ):
        assert process.ask(site, named) == ReturnCode.AUTHENTICATION_ERROR
    assert process.ask("hospital-a", "hospital-a") == ReturnCode.OK


def test_a_process_that_knows_no_site_yet_asks_to_try_again(process: JobProcess) -> None:
    process.clients.clear()
    process.engine.new_context = FLContext  # FLARE's, before the run
    assert process.send("hospital-a", "hospital-a") == ReturnCode.SERVICE_UNAVAILABLE


def test_a_task_s_result_is_of_who_has_brought_it() -> None:
    result = came_from("hospital-a", Shareable())
    result.set_peer_props({ReservedKey.IDENTITY_NAME: "hospital-b"})
    assert sender(result) == "hospital-a"
    assert sender(Shareable()) == "unknown"
