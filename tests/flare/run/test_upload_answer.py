"""What a lead hears of a job whose file the server refuses: FLARE's console and streamer, without a network."""

import contextlib
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.streamers.file_streamer import _ChunkConsumer
from nvflare.fuel.flare_api.flare_api import Session
from nvflare.fuel.hci.client.api import AdminAPI
from nvflare.fuel.hci.client.api_spec import CommandContext
from nvflare.fuel.hci.client.file_transfer import _FileSender
from nvflare.private.aux_runner import AuxRunner
from nvflare.private.stream_runner import TOPIC_STREAM_ABORT, TOPIC_STREAM_REQUEST, HeaderKey, ObjectStreamer

from fedgin.flare.jobs.job import load_job
from fedgin.flare.run.console import ConsoleError, submit
from fedgin.flare.run.upload_answer import SECONDS_A_PIECE, bear_slow_lines, hear_refusals
from fedgin.flare.server import uploads
from tests.flare.server.test_uploads import LOGGED_IN, Server
from tests.places import JOBS

SIZE = 3_000_000


class Console(AdminAPI):
    """FLARE's console, whose line to the server is a call."""

    def __init__(self, server: Server, said: str = LOGGED_IN) -> None:
        self.server, self.said, self.logger = server, said, logging.getLogger("console")
        self.user_name = "lead@example.org"
        self.fl_ctx_mgr = FLContextManager(engine=self, identity_name=self.user_name)
        self.aux_runner = Mock(spec=AuxRunner)
        self.aux_runner.send_aux_request = self.send
        self.object_streamer = ObjectStreamer(self.aux_runner)
        self.cmd_timeout, self.token, self._debug, self.in_logout, self.closed = None, "", False, False, False

    def send(self, *, topic: str, request: Shareable, **_: Any) -> Mapping[str, Shareable]:
        """Give one piece to the server."""
        if context := request.get_header(HeaderKey.CTX):
            context["conn_data"] = self.said
        with self.new_context() as fl_ctx:
            fl_ctx.set_prop("__run_abort_signal__", Signal(), private=True, sticky=False)
            return {"server": self.server.streamer._handle_request(topic, request, fl_ctx)}

    def do_command(self, command: str, props: Any = None) -> Any:
        """Send a job's file as FLARE does once it has made it."""
        file = self.server.folder.with_name("job.zip")
        file.write_bytes(b"x" * SIZE)
        context = CommandContext()
        context.set_api(self)
        context.set_command_args(["submit_job"])
        context.set_requester(_FileSender(str(file)))
        return self.server_execute("submit_job job", cmd_ctx=context)

    def fire_event(self, event_type: str, ctx: Any) -> None:
        """Nobody listens."""


class Lead(Session):
    """A session over that console."""

    def __init__(self, api: Console) -> None:
        self.api = api

    def _raise_if_session_expired(self) -> None:
        """It lasts."""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / "server").mkdir()
    return Server(tmp_path / "server")


def refused(console: Console) -> ConsoleError:
    hear_refusals(console)
    with pytest.raises(ConsoleError) as caught:
        submit(Lead(console), load_job(JOBS / "abdomen_fedgin"))
    return caught.value


def test_a_job_that_is_too_large_is_refused_with_the_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", SIZE - 1)
    error = refused(Console(server))
    assert error.problem == f"job abdomen_fedgin was refused: upload: the job has more than {SIZE - 1:,} bytes"
    assert error.fix == uploads.FIX
    assert capsys.readouterr() == ("", "")
    assert server.files == 0


def test_who_is_not_logged_in_any_more_hears_so(server: Server) -> None:
    assert "a file came from nobody who is logged in" in refused(Console(server, said="nobody")).problem


@pytest.mark.parametrize("where", ["__init__", "consume", "finalize"])
def test_a_full_disk_of_the_server_is_named(server: Server, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_ChunkConsumer, where, fail)
    error = refused(Console(server))
    assert error.problem.endswith("upload: the server cannot write the job: No space left on device")
    assert error.fix.startswith("make room on the server's disk")


def test_a_server_that_gives_no_reason_is_quoted_with_its_code(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(server)
    silent = {"server": make_reply(ReturnCode.COMMUNICATION_ERROR)}
    monkeypatch.setattr(console.aux_runner, "send_aux_request", lambda **_: silent)
    assert "the server did not take the file (COMMUNICATION_ERROR)" in refused(console).problem


def test_a_refusal_is_not_told_of_the_next_job(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(server)
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "LARGEST_UPLOAD", SIZE - 1)
        refused(console)
    with contextlib.suppress(ConsoleError):  # of a job without an id, which this server has not made
        submit(Lead(console), load_job(JOBS / "abdomen_fedgin"))
    assert server.whole == [b"x" * SIZE]


def test_each_piece_has_the_time_that_a_slow_line_needs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLARE's five seconds are too few for a megabyte at 1 Mbit/s; what it does not wait for stays so."""
    console = Console(server)
    given = list[tuple[str, float]]()

    def send(*, topic: str, timeout: float, **named: Any) -> Mapping[str, Shareable]:
        given.append((topic, timeout))
        return console.send(topic=topic, **named)

    monkeypatch.setattr(console.aux_runner, "send_aux_request", send)
    bear_slow_lines(console)
    with contextlib.suppress(ConsoleError):
        submit(Lead(console), load_job(JOBS / "abdomen_fedgin"))
    assert given == [(TOPIC_STREAM_REQUEST, SECONDS_A_PIECE)] * 3 + [(TOPIC_STREAM_ABORT, 0)]
    assert server.whole == [b"x" * SIZE]


def test_flare_alone_says_that_no_server_answers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, FLARE has mended it."""
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", SIZE - 1)
    with pytest.raises(ConsoleError, match="cannot connect to server"):
        submit(Lead(Console(server)), load_job(JOBS / "abdomen_fedgin"))
