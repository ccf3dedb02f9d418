"""What a console hears of the file of a job that it sends.

FLARE's console drops the server's reason for refusing the file, and says that the server did not respond. It also gives
each piece, of a megabyte, five seconds.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.private.stream_runner import TOPIC_STREAM_REQUEST, HeaderKey

from fedgin.flare.server.uploads import refusal

# For a megabyte and its answer: enough for 70 kbit/s.
SECONDS_A_PIECE = 120.0


def bear_slow_lines(api: Any) -> None:
    """Let FLARE's console wait for the answer to a piece of a file as long as a slow line needs.

    Args:
        api: of a session, ``AdminAPI``.
    """
    send = api.aux_runner.send_aux_request

    def patient(*given: Any, topic: str, timeout: float, **named: Any) -> Mapping[str, Shareable]:
        seconds = SECONDS_A_PIECE if topic == TOPIC_STREAM_REQUEST else timeout
        replies: Mapping[str, Shareable] = send(*given, topic=topic, timeout=seconds, **named)
        return replies

    api.aux_runner.send_aux_request = patient


def hear_refusals(api: Any) -> None:
    """Let FLARE's console return the reason for which the server refuses a job's file.

    Args:
        api: of a session, ``AdminAPI``.
    """
    send, upload = api.aux_runner.send_aux_request, api.upload_file
    said = list[str]()

    def heard(*given: Any, **named: Any) -> Mapping[str, Shareable]:
        replies: Mapping[str, Shareable] = send(*given, **named)
        said.extend(filter(None, map(_refused, replies.values())))
        return replies

    def answered(file_name: str, conn: Any) -> Any:
        said.clear()
        with _told_once():
            answer = upload(file_name, conn)
        return answer or next(iter(said), None)

    api.aux_runner.send_aux_request, api.upload_file = heard, answered


def _refused(reply: Shareable) -> str:
    code = reply.get_return_code(ReturnCode.OK)
    if code == ReturnCode.OK:
        return ""
    return str(reply.get_header(HeaderKey.END_RESULT) or refusal(f"the server did not take the file ({code})"))


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Leave out FLARE's own lines, which name codes and no reason."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
