"""FLARE's own cells on loopback: what a site and a console could ask of another site, and what the server must."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.hci.proto import ReplyKeyword
from nvflare.fuel.sec.audit import AuditService
from nvflare.private.admin_defs import Message
from nvflare.private.defs import CellChannel, SysCommandTopic, TrainingTopic, new_cell_message
from nvflare.private.fed.client.admin import FedAdminAgent
from nvflare.private.fed.client.client_engine_internal_spec import ClientEngineInternalSpec
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize

from fedgin.flare.audit.request_filter import RequestFilter
from fedgin.flare.audit.security_log import Kind, read_log
from poc.federation import free_port

NAMES = ("server", "hospital-a", "hospital-b")
SECRET = "PAT0042"


class Federation:
    """A server, two hospitals, and FLARE's agent that answers commands at the second; ``deleted`` are its job ids."""

    def __init__(self, folder: Path, *, filters: bool) -> None:
        nvflare_fobs_initialize()
        AuditService.initialize(str(folder / "audit.log"))
        url = f"tcp://127.0.0.1:{free_port()}"
        self.folder, self.deleted = folder, list[str]()
        self.cells = {name: self._connected(name, url) for name in NAMES}
        engine = Mock(spec=ClientEngineInternalSpec, new_context=FLContext, delete_run=self.deleted.append)
        agent = FedAdminAgent("hospital-b", self.cells["hospital-b"], engine)
        for processor in ClientRequestProcessors.request_processors:
            agent.register_processor(processor)
        for name, cell in self.cells.items():
            (folder / name).mkdir()
            if filters and name != "hospital-a":  # the hostile one
                context = FLContext()
                at = SimpleNamespace(get_cell=lambda cell=cell: cell)
                context.set_prop("__engine__", at, private=True, sticky=False)
                RequestFilter(str(folder / name)).handle_event(EventType.SYSTEM_START, context)
        end = time.monotonic() + 60.0
        while len(self.cells["server"].core_cell.agents) < 2:
            assert time.monotonic() < end
            time.sleep(0.02)
        (folder / "datalist.json").write_text(SECRET)

    @staticmethod
    def _connected(name: str, url: str) -> Cell:
        cell = Cell(name, url, secure=False, credentials={})
        cell.start()
        CoreCell.ALL_CELLS.clear()  # the others shall not find it in their process, but connect
        return cell

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
