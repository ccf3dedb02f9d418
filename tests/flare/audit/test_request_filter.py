"""FLARE's own cells on loopback: what a site and a console could ask of another site, and what the server must."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import AdminCommandNames, FLContextKey, MachineStatus, ReservedKey, ServerCommandNames
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.net_agent import NetAgent
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.hci.proto import ReplyKeyword
from nvflare.fuel.sec.audit import AuditService
from nvflare.private.admin_defs import Message
from nvflare.private.defs import (
    CellChannel,
    CellChannelTopic,
    CellMessageHeaderKeys,
    SysCommandTopic,
    TrainingTopic,
    new_cell_message,
)
from nvflare.private.fed.client.admin import FedAdminAgent
from nvflare.private.fed.client.client_engine_internal_spec import ClientEngineInternalSpec
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.server.server_command_agent import ServerCommandAgent
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize
from nvflare.private.stream_runner import TOPIC_STREAM_REQUEST

from fedgin.flare.audit.request_filter import RequestFilter
from fedgin.flare.audit.security_log import Kind, read_log
from poc.federation import free_port

NAMES = ("server", "server.job", "hospital-a", "hospital-b")
SECRET = "PAT0042"


def wait_for(found: Callable[[], object]) -> None:
    end = time.monotonic() + 30.0
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


class Federation:
    """A server with its process of a job, two hospitals, and FLARE's agents that answer commands.

    Attributes:
        folder: with a folder for what each of them writes.
        cells: by name; the first hospital is the hostile one.
        deleted: the job ids that the second hospital was told to delete.
        runner: of the job at the server; keeps what it was told to do.
    """

    def __init__(self, folder: Path, *, filters: bool) -> None:
        nvflare_fobs_initialize()
        AuditService.initialize(str(folder / "audit.log"))
        url = f"tcp://127.0.0.1:{free_port()}"
        self.folder, self.deleted = folder, list[str]()
        self.cells = dict[str, Cell]()
        for name in NAMES:
            self.cells[name] = self._connected(name, url)
        engine = Mock(spec=ClientEngineInternalSpec, new_context=FLContext, delete_run=self.deleted.append)
        agent = FedAdminAgent("hospital-b", self.cells["hospital-b"], engine)
        for processor in ClientRequestProcessors.request_processors:
            agent.register_processor(processor)
        self.runner = self._run_job()
        for name in ("server", "hospital-b"):
            cell = self.cells[name]
            NetAgent(cell)
            (folder / name).mkdir()
            if filters:
                context = FLContext()
                at = SimpleNamespace(get_cell=lambda cell=cell: cell)
                context.set_prop("__engine__", at, private=True, sticky=False)
                RequestFilter(str(folder / name)).handle_event(EventType.SYSTEM_START, context)
        wait_for(lambda: len(self.cells["server"].core_cell.agents) == len(NAMES) - 1)
        wait_for(lambda: all(cell.core_cell.agents for cell in self.cells.values()))
        (folder / "datalist.json").write_text(SECRET)

    def _connected(self, name: str, url: str) -> Cell:
        own = {}
        if name == "server":
            own = {"create_internal_listener": True}
        elif name == "server.job":
            own = {"parent_url": self.cells["server"].get_internal_listener_url()}
        cell = Cell(name, url, secure=False, credentials={}, **own)
        cell.start()
        CoreCell.ALL_CELLS.clear()  # the others shall not find it in their process, but connect
        return cell

    def _run_job(self) -> Mock:
        """Let FLARE's own agent do what a job's process at the server is told; return the runner."""
        runner, engine = Mock(), Mock()

        def new_context() -> FLContext:
            made = FLContextManager(engine, "server", "job", {}, {}).new_context()
            made.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
            return made

        engine.new_context = new_context
        engine.engine_info.status = MachineStatus.STOPPED
        engine.server.client_manager.clients = {}
        collector = engine.get_widget.return_value
        collector.get_run_stats.return_value = collector.get_errors.return_value = {"hospital-b": SECRET}
        ServerCommandAgent(engine, self.cells["server.job"]).start()
        return runner

    def command(self, sender: str, topic: str, *, seconds: float = 30.0, **to: str) -> tuple[str, Any]:
        """Let one send a command to a process of the server, by default the job's; return code and payload."""
        where = {"channel": CellChannel.SERVER_COMMAND, "target": "server.job", **to}
        cell: Any = self.cells[sender]
        # As FLARE's own agents of the network talk with each other.
        cell = cell.core_cell if where["channel"] == "_net_manager" else cell
        reply = cell.send_request(
            **where,
            topic=topic,
            request=new_cell_message({}, Shareable()),
            timeout=seconds,
        )
        return reply.get_header(MessageHeaderKey.RETURN_CODE), reply.payload

    def ask(self, sender: str, topic: str, text: str = "", *, seconds: float = 30.0, **headers: str) -> str:
        """Let one send a command to hospital-b; return what comes back in that time."""
        request = Message(topic, text)
        for key, value in headers.items():
            request.set_header(key, value)
        reply: Any = self.cells[sender].send_request(
            channel=CellChannel.CLIENT_MAIN,
            target="hospital-b",
            topic="anything",
            request=new_cell_message({}, request),
            timeout=seconds,
        )
        return str(getattr(reply.payload, "body", ""))

    def refused(self, name: str) -> list[tuple[str, str]]:
        """Return whom a participant's security log says that it refused, and what."""
        events = [event for event in read_log(self.folder / name).events if event.kind is Kind.COMMAND_REFUSED]
        return [(event.participant, event.command) for event in events]

    def stop(self) -> None:
        for cell in reversed(self.cells.values()):
            cell.stop()


@pytest.fixture
def federation(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    with pytest.MonkeyPatch.context() as patch:
        # What a process keeps of all of its cells.
        patch.setattr(CoreCell, "ALL_CELLS", {})
        patch.setattr(StatsPoolManager, "pools", {})
        made = Federation(tmp_path, filters=getattr(request, "param", True))
        yield made
        made.stop()
    CommConfigurator.reset()


@pytest.mark.parametrize("federation", [False], indirect=True)
def test_flare_alone_shows_one_hospital_the_files_of_another(federation: Federation) -> None:
    """Once this fails, FLARE has mended it, and the filter may go."""
    assert SECRET in federation.ask("hospital-a", SysCommandTopic.SHELL, f"cat {federation.folder}/datalist.json")


def test_no_hospital_is_asked_anything_by_another(federation: Federation) -> None:
    for topic in (SysCommandTopic.SHELL, TrainingTopic.DELETE_RUN):
        text = f"cat {federation.folder}/datalist.json"
        assert federation.ask("hospital-a", topic, text, seconds=3.0, job_id=str(uuid.uuid4())) == ""
    assert federation.deleted == []
    assert federation.refused("server") == [("hospital-a", "anything")]
    # Also where the server lets it through.
    federation.cells["server"].core_cell.in_filter_reg.reg.clear()
    text = f"cat {federation.folder}/datalist.json"
    assert federation.ask("hospital-a", SysCommandTopic.SHELL, text, seconds=3.0) == ""
    assert [command for _, command in federation.refused("hospital-b")] == ["anything"]


@pytest.mark.parametrize("name", ["server", "server.job", "hospital-b"])
def test_no_hospital_speaks_in_another_s_name(federation: Federation, name: str) -> None:
    cell = federation.cells["hospital-a"].core_cell
    send = cell._send_to_endpoint

    def forged(to_endpoint: Any, message: Any) -> str:
        message.add_headers({MessageHeaderKey.ORIGIN: name})
        return str(send(to_endpoint, message))

    cell._send_to_endpoint = forged
    job = str(uuid.uuid4())
    assert federation.ask("hospital-a", TrainingTopic.DELETE_RUN, seconds=3.0, job_id=job) == ""
    assert federation.deleted == []
    assert federation.refused("server") == [("hospital-a", "anything")]


def test_the_server_gets_no_shell_and_deletes_no_folder_but_a_job_s(federation: Federation) -> None:
    assert ReplyKeyword.NOT_AUTHORIZED in federation.ask(
        "server", SysCommandTopic.SHELL, f"cat {federation.folder}/datalist.json"
    )
    for job in ("local", "../kit", "", "{" + str(uuid.uuid4()) + "}"):
        assert ReplyKeyword.NOT_AUTHORIZED in federation.ask("server", TrainingTopic.DELETE_RUN, job_id=job)
    assert federation.deleted == []
    assert federation.refused("hospital-b") == [("server", SysCommandTopic.SHELL)]


def test_the_server_s_own_commands_are_done(federation: Federation) -> None:
    job = str(uuid.uuid4())
    federation.ask("server", TrainingTopic.DELETE_RUN, job_id=job)
    assert federation.deleted == [job]
    assert federation.ask("server", SysCommandTopic.REPORT_ENV) != ""
    assert federation.refused("hospital-b") == []


DEAD = ServerCommandNames.HANDLE_DEAD_JOB
OWN_COMMANDS = (ServerCommandNames.SHOW_STATS, ServerCommandNames.GET_ERRORS, DEAD, AdminCommandNames.ABORT)


def send_in_bulk(federation: Federation) -> None:
    """Let the hostile hospital put a command into a message of many; FLARE sends it within a second."""
    federation.cells["hospital-a"].core_cell.queue_message(
        CellChannel.SERVER_COMMAND, DEAD, "server.job", new_cell_message({}, Shareable())
    )


@pytest.mark.parametrize("federation", [False], indirect=True)
def test_flare_alone_lets_a_hospital_command_a_job_at_the_server(federation: Federation) -> None:
    """Once this fails, FLARE has mended it."""
    assert federation.command("hospital-a", ServerCommandNames.SHOW_STATS) == (ReturnCode.OK, {"hospital-b": SECRET})
    send_in_bulk(federation)
    wait_for(lambda: federation.runner.handle_dead_job.called)


def test_no_hospital_commands_a_job_at_the_server(federation: Federation) -> None:
    for topic in OWN_COMMANDS:
        assert federation.command("hospital-a", topic, seconds=1.0) == (ReturnCode.TIMEOUT, None)
    assert federation.refused("server") == [("hospital-a", OWN_COMMANDS[0])]
    assert not federation.runner.mock_calls


def test_no_hospital_hides_a_command_in_a_whole_message_or_among_others(federation: Federation) -> None:
    hostile = federation.cells["hospital-a"].core_cell
    # FLARE cuts a message of this channel into pieces; this one is sent as it is.
    hostile.fire_and_forget(CellChannel.SERVER_COMMAND, DEAD, "server.job", new_cell_message({}, Shareable()))
    wait_for(lambda: federation.refused("server") == [("hospital-a", DEAD)])
    send_in_bulk(federation)
    wait_for(lambda: not hostile.bulk_senders["server.job"].messages)
    assert federation.command("hospital-a", ServerCommandNames.GET_TASK)[0] == ReturnCode.AUTHENTICATION_ERROR
    assert not federation.runner.mock_calls


def test_no_hospital_speaks_for_a_job_or_steers_the_network(federation: Federation) -> None:
    """With the first it could fetch the tokens of all sites, with the second end the server's processes."""
    listener, asked = CellChannel.SERVER_PARENT_LISTENER, list[str]()

    def listen(request: Any) -> Any:
        asked.append(request.get_header(MessageHeaderKey.ORIGIN))
        return make_reply(ReturnCode.OK)

    federation.cells["server"].register_request_cb(listener, "*", listen)
    for channel, topic in ((listener, ServerCommandNames.GET_CLIENTS), ("_net_manager", "process_info")):
        refused = federation.command("hospital-a", topic, channel=channel, target="server", seconds=1.0)
        assert refused == (ReturnCode.TIMEOUT, None)
    assert asked == []
    assert federation.command("server.job", ServerCommandNames.GET_CLIENTS, channel=listener, target="server")
    assert asked == ["server.job"]


def test_what_a_job_and_a_console_need_is_done(federation: Federation) -> None:
    for topic in (ServerCommandNames.GET_TASK, ServerCommandNames.SUBMIT_UPDATE):
        # FLARE's own answer to who shows no token.
        assert federation.command("hospital-a", topic)[0] == ReturnCode.AUTHENTICATION_ERROR
    assert federation.command("server", ServerCommandNames.SHOW_STATS) == (ReturnCode.OK, {"hospital-b": SECRET})
    code, told = federation.command("server", "process_info", channel="_net_manager", target="hospital-b")
    assert code == ReturnCode.OK
    assert told
    assert federation.refused("server") == federation.refused("hospital-b") == []


def test_no_hospital_sends_a_file_to_the_server(federation: Federation) -> None:
    """FLARE's server would open one for whoever sends a piece."""
    channel, heard = CellChannel.AUX_COMMUNICATION, list[str]()

    def listen(request: Any) -> Any:
        heard.append(request.get_header(MessageHeaderKey.TOPIC))
        return make_reply(ReturnCode.OK)

    for topic in ("fed.event", TOPIC_STREAM_REQUEST):
        federation.cells["server"].register_request_cb(channel=channel, topic=topic, cb=listen)
        federation.command("hospital-a", topic, channel=channel, target="server", seconds=3.0)
    assert heard == ["fed.event"]
    assert federation.refused("server") == [("hospital-a", TOPIC_STREAM_REQUEST)]


def send_named(federation: Federation, topic: str, named: str | None) -> list[str]:
    """Let the hostile hospital send a message that names a site; return the names that reach FLARE's server."""
    heard, payload = list[str](), Shareable()

    def listen(request: Any) -> Any:
        heard.append(request.payload.get_peer_context().get_identity_name())
        return make_reply(ReturnCode.OK)

    federation.cells["server"].register_request_cb(CellChannel.SERVER_MAIN, topic, listen)
    if named is not None:
        peer = FLContext()
        peer.set_prop(ReservedKey.IDENTITY_NAME, named, private=False, sticky=True)
        payload.set_peer_context(peer)
    federation.cells["hospital-a"].send_request(
        channel=CellChannel.SERVER_MAIN,
        topic=topic,
        target="server",
        request=new_cell_message({CellMessageHeaderKeys.CLIENT_NAME: "hospital-a"}, payload),
        timeout=5.0,
    )
    return heard


@pytest.mark.parametrize("federation", [False], indirect=True)
def test_flare_alone_believes_the_name_in_a_heartbeat(federation: Federation) -> None:
    """Once FLARE refuses it, the filter of names may go."""
    assert send_named(federation, CellChannelTopic.HEART_BEAT, "hospital-b") == ["hospital-b"]


@pytest.mark.parametrize("topic", [CellChannelTopic.HEART_BEAT, CellChannelTopic.Quit])
def test_no_hospital_gives_a_sign_of_life_or_says_farewell_for_another(federation: Federation, topic: str) -> None:
    assert send_named(federation, topic, "hospital-a") == ["hospital-a"]
    assert federation.refused("server") == []
    for named in ("hospital-b", "server", "", None):
        assert send_named(federation, topic, named) == []
    assert federation.refused("server") == [("hospital-a", topic)]
