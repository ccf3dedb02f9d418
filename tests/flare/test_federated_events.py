"""What a message may fire, with FLARE's own runner of federated events."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FedEventHeader, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_event_type import AppEventType
from nvflare.widgets.fed_event import FedEventRunner

from fedgin.flare.client.executor import FedginExecutor
from fedgin.flare.jobs.configuration import client_config, server_config
from fedgin.flare.jobs.numbers import Numbers
from fedgin.flare.protocol import METRICS_SENT, UPDATE_REFUSED
from fedgin.flare.server.round_recorder import RoundRecorder
from fedgin.train.experiment import FederationSettings


class Engine:
    """What is needed of FLARE's engine: it keeps the handler of messages, and which events are fired."""

    def __init__(self) -> None:
        self.fired: list[str] = []
        self.receive: Any = None
        self.new_context = FLContext

    def register_aux_message_handler(self, topic: str, message_handle_func: Any) -> None:
        self.receive = message_handle_func

    def fire_event(self, event_type: str, fl_ctx: FLContext) -> None:
        self.fired.append(event_type)


@pytest.fixture(params=[RoundRecorder, FedginExecutor])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return what a process of a job has, with the part of ours that every job names at the server or at a site."""
    request.param()
    made, context, ended = Engine(), FLContext(), Signal()
    context.set_prop("__engine__", made, private=True, sticky=False)
    context.set_prop(ReservedKey.RUN_ABORT_SIGNAL, ended, private=True, sticky=False)
    FedEventRunner().handle_event(EventType.START_RUN, context)
    yield made
    ended.trigger(True)  # its thread waits for that


def send(engine: Engine, event: str) -> str:
    request = Shareable()
    for key, value in ((FedEventHeader.EVENT_TYPE, event), (FedEventHeader.TIMESTAMP, time.time())):
        request.set_header(key, value)
    request.set_peer_props({ReservedKey.IDENTITY_NAME: "hospital-a"})
    return str(engine.receive("fed.event", request, FLContext()).get_return_code())


@pytest.mark.parametrize(
    "event",
    [
        *(EventType.START_RUN, EventType.END_RUN, EventType.ABORT_TASK, EventType.FATAL_SYSTEM_ERROR),
        *(AppEventType.ROUND_DONE, AppEventType.AFTER_AGGREGATION, AppEventType.INITIAL_MODEL_LOADED),
        "analytix_log_stats",
    ],
)
def test_no_event_of_flare_s_own_run_comes_with_a_message(engine: Engine, event: str) -> None:
    assert send(engine, event) == ReturnCode.BAD_REQUEST_DATA
    assert send(engine, METRICS_SENT) == send(engine, UPDATE_REFUSED) == ReturnCode.OK
    end = time.monotonic() + 10.0
    while len(engine.fired) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert engine.fired == [METRICS_SENT, UPDATE_REFUSED]


def test_what_a_job_sends_is_accepted() -> None:
    server = server_config(Numbers(num_rounds=1, min_clients=1), FederationSettings())
    [receiver] = [part for part in server["components"] if part["id"] == "tensorboard"]
    [converter] = client_config(encrypted=False)["components"]
    sent = [converter["args"]["fed_event_prefix"] + event for event in converter["args"]["events_to_convert"]]
    assert receiver["args"]["events"] == sent == [METRICS_SENT]
