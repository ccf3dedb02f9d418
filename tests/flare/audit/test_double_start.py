import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext

from fedgin.flare.audit.double_start import EVICTED, OTHER, RECENT_SECONDS, DoubleStart
from fedgin.flare.audit.security_log import Kind, read_log


def heartbeat(site: str, error: str = "") -> FLContext:
    """The server's context while it handles a heartbeat."""
    peer, context = FLContext(), FLContext()
    peer.set_prop(ReservedKey.IDENTITY_NAME, site, private=False, sticky=True)
    context.set_peer_context(peer)
    if error:
        context.set_prop(FLContextKey.COMMUNICATION_ERROR, error, sticky=False)
    return context


def answer(server: DoubleStart, site: str) -> str | None:
    context = heartbeat(site)
    server.handle_event(EventType.CLIENT_HEARTBEAT_RECEIVED, context)
    said: str | None = context.get_prop(FLContextKey.COMMUNICATION_ERROR)
    return said


def evict(server: DoubleStart, site: str) -> None:
    server.handle_event(EventType.CLIENT_HEARTBEAT_PROCESSED, heartbeat(site, f"{EVICTED} as a client: {site}"))


def test_the_server_says_it_once_and_tells_the_process_that_holds_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = DoubleStart(str(tmp_path))
    server.handle_event(EventType.CLIENT_HEARTBEAT_PROCESSED, heartbeat("ct-a"))
    server.handle_event(EventType.CLIENT_HEARTBEAT_PROCESSED, heartbeat("ct-a", "server is stopping"))
    assert answer(server, "ct-a") is None
    evict(server, "ct-a")
    evict(server, "ct-a")
    assert answer(server, "ct-a") == OTHER
    assert answer(server, "mr-a") is None
    [event] = read_log(tmp_path).events
    assert (event.kind, event.participant) == (Kind.KIT_RUNS_TWICE, "ct-a")
    assert [line.getMessage() for line in caplog.records if line.levelno == logging.ERROR] == [
        "two processes run with the kit of ct-a. Fix: ask ct-a to stop one of them"
    ]


def test_the_server_forgets_it_when_one_of_them_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = DoubleStart(str(tmp_path))
    evict(server, "ct-a")
    later = time.monotonic() + RECENT_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert answer(server, "ct-a") is None


class Cell:
    """What is needed of FLARE's cell."""

    def __init__(self) -> None:
        self.core_cell = self
        self.heard: Any = None
        self.connected: Any = None

    def add_incoming_reply_filter(self, channel: str, topic: str, callback: Any) -> None:
        self.heard = callback

    def set_cell_connected_cb(self, callback: Any, *args: Any) -> None:
        self.connected = callback


def started(kit: Path) -> Cell:
    cell, context = Cell(), FLContext()
    context.set_prop("__engine__", SimpleNamespace(get_cell=lambda: cell), private=True, sticky=False)
    DoubleStart(str(kit)).handle_event(EventType.SYSTEM_START, context)
    return cell


@pytest.mark.parametrize(
    ("error", "told"), [(f"{EVICTED} as a client: ct-a", True), (OTHER, True), ("server is stopping", False)]
)
def test_a_site_hears_it_in_the_answer_to_its_heartbeat(tmp_path: Path, error: str, told: bool) -> None:
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_client.json").write_text("{}")
    reply = SimpleNamespace(get_header=lambda key: error)
    cell = started(tmp_path)
    for _ in range(2):
        cell.heard(reply)
    assert [event.kind for event in read_log(tmp_path).events] == [Kind.KIT_RUNS_TWICE] * told


def test_a_server_does_not_listen(tmp_path: Path) -> None:
    assert started(tmp_path).heard is None
