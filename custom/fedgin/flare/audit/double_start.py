"""Say at site and server that two processes run with one kit, such as on two machines; FLARE tells nobody.

FLARE's server has one connection and one token for each site. Who registers takes both; the other connects again and
takes the connection back, and so on. Each finds its connection gone when it sends the next heartbeat, which is lost.
So a site sends one more as soon as it is connected again. Only one token is valid: FLARE refuses a heartbeat with the
other, in a reply that its client does not read. On one machine :mod:`fedgin.deploy.start` refuses the second start.
"""

import math
import threading
import time
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.fl_context_utils import gen_new_peer_ctx
from nvflare.fuel.f3.cellnet.core_cell import CellAgent
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.private.defs import CellChannel, CellChannelTopic, CellMessageHeaderKeys, new_cell_message

from fedgin.errors import with_fix
from fedgin.flare.audit.security_log import Kind, record_or_tell

# FLARE's answer to the heartbeat of the process that registered first, and ours to the other's.
EVICTED = "Client ID already registered"
OTHER = "another process runs with the kit of this site"
RECENT_SECONDS = 120.0
REPEAT_SECONDS = 600.0
ANSWER_SECONDS = 30.0


class DoubleStart(FLComponent):
    """Part of ``local/resources.json`` of server and sites.

    A site hears of it in the replies to its heartbeats: the one that registered first by FLARE's answer, the other
    because the server's part adds one. Each writes an error into its log every ten minutes, and a line into the
    security log.

    Args:
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()
        self._seen: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Listen at a site; notice and answer at the server."""
        if event_type == EventType.SYSTEM_START and (self.kit / "startup" / "fed_client.json").is_file():
            self._listen(fl_ctx.get_engine())
        elif event_type == EventType.CLIENT_HEARTBEAT_RECEIVED and _is_recent(
            self._seen, _site(fl_ctx), RECENT_SECONDS
        ):
            fl_ctx.set_prop(FLContextKey.COMMUNICATION_ERROR, OTHER, sticky=False)
        elif event_type == EventType.CLIENT_HEARTBEAT_PROCESSED:
            self._notice(_site(fl_ctx), str(fl_ctx.get_prop(FLContextKey.COMMUNICATION_ERROR)))

    def _listen(self, engine: Any) -> None:
        cell = engine.get_cell().core_cell
        cell.add_incoming_reply_filter(CellChannel.SERVER_MAIN, CellChannelTopic.HEART_BEAT, self._hear_reply)
        cell.set_cell_connected_cb(_when_connected, engine)

    def _hear_reply(self, message: Any) -> None:
        if str(message.get_header(MessageHeaderKey.ERROR)).startswith((EVICTED, OTHER)):
            self._say(
                "",
                "another process runs with this kit, such as on another machine: they take the connection to the"
                " server from each other, and jobs fail",
                "stop one of them; another site needs a kit of its own",
            )

    def _notice(self, site: str, error: str) -> None:
        if error.startswith(EVICTED):
            self._seen[site] = time.monotonic()
            self._say(site, f"two processes run with the kit of {site}", f"ask {site} to stop one of them")

    def _say(self, site: str, problem: str, fix: str) -> None:
        line = with_fix(problem, fix)
        tell_rarely(self, self._said, site, line, Kind.KIT_RUNS_TWICE, reason=problem)


def _when_connected(connected: CellAgent, engine: Any) -> None:
    """Send a heartbeat from a thread: this one, of FLARE's, would receive the answer."""
    if connected.get_fqcn() == FQCN.ROOT_SERVER:
        threading.Thread(target=_send_heartbeat, args=(engine,), daemon=True).start()


def _send_heartbeat(engine: Any) -> None:
    payload = Shareable()
    payload.set_peer_context(gen_new_peer_ctx(engine.new_context()))
    headers = {
        CellMessageHeaderKeys.PROJECT_NAME: next(iter(engine.client.servers)),
        CellMessageHeaderKeys.JOB_IDS: engine.get_all_job_ids(),
    }
    engine.get_cell().send_request(
        target=FQCN.ROOT_SERVER,
        channel=CellChannel.SERVER_MAIN,
        topic=CellChannelTopic.HEART_BEAT,
        request=new_cell_message(headers, payload),
        timeout=ANSWER_SECONDS,
        optional=True,
    )


def tell_rarely(part: Any, said: dict[str, float], participant: str, line: str, kind: Kind, **facts: str) -> None:
    """Write a line into the log and an event into the security log, of each participant every ten minutes.

    Args:
        part: a component with a ``kit`` and a ``logger``.
        said: when it was told of whom.
        participant: of whom it is told; empty for the own site.
        line: for the log.
        kind: of the event.
        facts: of the event.
    """
    if _is_recent(said, participant, REPEAT_SECONDS):
        return
    said[participant] = time.monotonic()
    part.logger.error(line)
    record_or_tell(part.kit, part.logger.error, kind, participant=participant, **facts)


def _is_recent(times: dict[str, float], site: str, seconds: float) -> bool:
    return time.monotonic() - times.get(site, -math.inf) < seconds


def _site(fl_ctx: FLContext) -> str:
    peer = fl_ctx.get_peer_context()
    return "" if peer is None else str(peer.get_identity_name())
