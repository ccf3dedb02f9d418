"""Refuse at server and site what no participant may ask of another; FLARE lets all of it through.

FLARE's server forwards a message from one client to another, and a client does what an administrator's request says
whoever sends it: it is authorised only where the sender asks for that. So one hospital could list another one's folders
with the shell that every client answers. What a job needs goes between a site and the server alone.

A job's process at the server does what the server asks of it, whoever asks: it looks at the sender of two commands
alone. So one hospital could read what all of them measured, and have another one taken for dead.
"""

import uuid
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ServerCommandNames
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FqcnInfo, same_family
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey
from nvflare.fuel.hci.proto import ReplyKeyword
from nvflare.fuel.utils.admin_name_utils import is_valid_admin_client_name
from nvflare.private.admin_defs import error_reply
from nvflare.private.defs import (
    CellChannel,
    CellChannelTopic,
    CellMessageHeaderKeys,
    RequestHeader,
    SysCommandTopic,
    new_cell_message,
)
from nvflare.private.stream_runner import TOPIC_STREAM_REQUEST

from fedgin.errors import with_fix
from fedgin.flare.audit.double_start import tell_rarely
from fedgin.flare.audit.security_log import Kind
from fedgin.flare.federated_events import accept_ours_alone
from fedgin.flare.light_messages import lighten_messages

ALL = "*"
# What a site's process of a job asks of the server's; FLARE looks at the token of both.
FROM_SITES = frozenset({ServerCommandNames.GET_TASK, ServerCommandNames.SUBMIT_UPDATE})
# Where the server's processes talk with each other, and where FLARE's network is shown, tested and stopped.
OF_THE_SERVER = frozenset({CellChannel.SERVER_PARENT_LISTENER, "_net_manager"})
# Many messages in one, which no filter of messages sees. FLARE sends it in that test of its network alone.
BULK = (CellChannel.CELLNET, "bulk")
# A piece of a request, not the word of its receiver that one came or was refused.
PIECE = (STREAM_CHANNEL, STREAM_DATA_TOPIC)
# Of these FLARE's parts at the server, and ours, believe the name inside; the token tells who sent it.
NAMED = (CellChannelTopic.HEART_BEAT, CellChannelTopic.Quit)
# A piece of a file; consoles send jobs so, and :mod:`~fedgin.flare.server.uploads` bounds that.
FILE_PIECE = (CellChannel.AUX_COMMUNICATION, TOPIC_STREAM_REQUEST)
ANOTHER_NAME = "a message in another's name"


class RequestFilter(FLComponent):
    """Part of ``local/resources.json`` of server and sites.

    - Both refuse every message between two participants of which neither is the server, and one that names another
      sender than the process that is connected.
    - The server refuses what its own processes alone ask of each other, such as all sites' numbers, or a job's end.
    - The server refuses files of a site.
    - The server refuses a sign of life, and a farewell, that names another site than its token.
    - Both refuse events that are not ours, see :mod:`~fedgin.flare.federated_events`.
    - A site refuses FLARE's shell (``ls``, ``cat``, ``grep``), whoever asks, and a job id that is none: with another
      text FLARE would delete a folder of the kit as a job's.

    What is refused is written into the log and into the security log, for each sender every ten minutes.

    Args:
        kit: see :class:`~fedgin.flare.jobs.job_validator.JobValidator`.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        accept_ours_alone()
        lighten_messages()
        self.kit = Path(kit).resolve()
        self._said: dict[str, float] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Begin to filter once FLARE is connected."""
        if event_type == EventType.SYSTEM_START:
            self.filter(fl_ctx.get_engine().get_cell().core_cell)

    def filter(self, cell: Any) -> None:
        """Filter what a cell of FLARE's receives.

        Args:
            cell: a ``CoreCell``.
        """
        # Beside FLARE's own filters, which are for all channels too: one for a channel would take their place in it.
        cell.add_incoming_filter(ALL, ALL, self._check_sender)
        if not FqcnInfo(cell.get_fqcn()).is_on_server:
            cell.add_incoming_request_filter(ALL, ALL, self._check_command)
            return
        for topic in NAMED:
            cell.add_incoming_request_filter(CellChannel.SERVER_MAIN, topic, self._check_name)

    def _check_sender(self, message: Any) -> Any:
        origin, destination = (
            FqcnInfo(str(message.get_header(key))) for key in (MessageHeaderKey.ORIGIN, MessageHeaderKey.DESTINATION)
        )
        # Who sent it says where it is from; FLARE holds that against a site's token, not against a console's.
        peer = message.get_prop(MessagePropKey.ENDPOINT)
        sender = FqcnInfo(peer.name) if peer else origin
        if not same_family(sender, origin):
            reason = ANOTHER_NAME
        elif not (origin.is_on_server or destination.is_on_server or same_family(origin, destination)):
            reason = "a message to another participant"
        elif destination.is_on_server and not origin.is_on_server and _is_of_the_server(message):
            reason = "the server's own processes ask each other for that"
        elif destination.is_on_server and _asked(message) == FILE_PIECE and not is_valid_admin_client_name(sender.root):
            reason = "a site sends no files"
        else:
            return None
        self._say(sender.root, _asked(message)[1], reason)
        return make_reply(ReturnCode.UNAUTHENTICATED, error="refused")

    def _check_name(self, message: Any) -> Any:
        peer = message.payload.get_peer_context() if isinstance(message.payload, Shareable) else None
        named = peer.get_identity_name() if isinstance(peer, FLContext) else None
        # FLARE has held this name against the token, and the token against the connection.
        if named == message.get_header(CellMessageHeaderKeys.CLIENT_NAME):
            return None
        sender = FqcnInfo(str(message.get_header(MessageHeaderKey.ORIGIN))).root
        self._say(sender, str(message.get_header(MessageHeaderKey.TOPIC)), ANOTHER_NAME)
        return make_reply(ReturnCode.UNAUTHENTICATED, error="refused")

    def _check_command(self, message: Any) -> Any:
        if message.get_header(MessageHeaderKey.CHANNEL) != CellChannel.CLIENT_MAIN:
            return None
        topic, job = str(message.payload.topic), message.payload.get_header(RequestHeader.JOB_ID)
        if topic == SysCommandTopic.SHELL:
            reason = "no shell here"
        elif job is not None and not _is_job_id(job):
            reason = "this is no job's id"
        else:
            return None
        self._say(FqcnInfo(str(message.get_header(MessageHeaderKey.ORIGIN))).root, topic, reason)
        return new_cell_message({}, error_reply(ReplyKeyword.NOT_AUTHORIZED))

    def _say(self, sender: str, command: str, reason: str) -> None:
        line = with_fix(f"{sender} was refused '{command}': {reason}", "ask who runs it: no job needs that")
        tell_rarely(self, self._said, sender, line, Kind.COMMAND_REFUSED, command=command, reason=reason)


def _is_of_the_server(message: Any) -> bool:
    if message.get_header(MessageHeaderKey.MSG_TYPE) != MessageType.REQ:
        return False  # a console's question about the network is the server's, and the site's is the answer
    channel, topic = _asked(message)
    if channel == CellChannel.SERVER_COMMAND:
        return topic not in FROM_SITES
    return channel in OF_THE_SERVER or (channel, topic) == BULK


def _asked(message: Any) -> tuple[str, str]:
    """Return channel and topic of a request; one that FLARE cuts into pieces has its own in each of them."""
    sent = tuple(str(message.get_header(key)) for key in (MessageHeaderKey.CHANNEL, MessageHeaderKey.TOPIC))
    if sent == PIECE:
        sent = tuple(str(message.get_header(key)) for key in (StreamHeaderKey.CHANNEL, StreamHeaderKey.TOPIC))
    channel, topic = sent
    return channel, topic


def _is_job_id(text: object) -> bool:
    try:
        return str(uuid.UUID(str(text))) == text
    except ValueError:
        return False
