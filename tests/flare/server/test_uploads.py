"""Files that come to the server, piece by piece, on FLARE's own streamer."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.streaming import StreamContext
from nvflare.app_common.streamers.file_streamer import FileStreamer, _ChunkConsumerFactory
from nvflare.app_common.streamers.streamer_base import KEY_DATA, KEY_DATA_SIZE, KEY_EOF, KEY_FILE_SIZE
from nvflare.fuel.hci.proto import StreamChannel
from nvflare.private.stream_runner import HeaderKey, ObjectStreamer

from fedgin.flare.server.uploads import AT_ONCE, LARGEST_UPLOAD, bound_uploads

LOGGED_IN = "the command of a console with a session"
ANOTHER = "the command of another person's console"
PERSONS = {LOGGED_IN: "lead@example.org", ANOTHER: "member@example.org"}
PIECE = b"x" * 1000


class Server:
    """FLARE's streamer, which writes files into a folder; each that is whole is read and kept.

    Args:
        taken: whether FLARE's job store moves each whole file away.
    """

    def __init__(self, folder: Path, *, ours: bool = True, taken: bool = False) -> None:
        self.folder, self.taken = folder, taken
        self.whole = list[bytes]()
        self.streamer = ObjectStreamer(Mock())
        if ours:
            bound_uploads(self.streamer, PERSONS.get)
        factory = _ChunkConsumerFactory(str(folder))
        self.streamer.register_stream_processing(
            channel=StreamChannel.UPLOAD, topic="*", factory=factory, stream_done_cb=self._done
        )

    def _done(self, stream_ctx: StreamContext, fl_ctx: FLContext, **more: Any) -> None:
        path = Path(FileStreamer.get_file_location(stream_ctx))
        self.whole.append(path.read_bytes() if path.exists() else b"")
        if self.taken:
            path.unlink()

    def send(
        self, name: str, number: int, *, size: Any = 3000, last: bool = False, said: str = LOGGED_IN, data: Any = PIECE
    ) -> bool:
        """Send one piece of a file; return whether it was taken."""
        piece, context = Shareable(), FLContext()
        piece[KEY_DATA], piece[KEY_DATA_SIZE], piece[KEY_EOF] = data, len(data), last
        headers = {HeaderKey.TX_ID: name, HeaderKey.SEQ: number, HeaderKey.CHANNEL: StreamChannel.UPLOAD}
        for key, value in (headers | {HeaderKey.TOPIC: "folder"}).items():
            piece.set_header(key, value)
        piece.set_header(HeaderKey.CTX, {"conn_data": said, KEY_FILE_SIZE: size})
        context.set_prop("__run_abort_signal__", Signal(), private=True, sticky=False)
        answer = self.streamer._handle_request("", piece, context)
        return bool(answer.get_return_code() == ReturnCode.OK)

    def send_all(self, name: str, pieces: int = 3, **facts: Any) -> Sequence[bool]:
        return [self.send(name, number, last=number == pieces - 1, **facts) for number in range(pieces)]

    @property
    def bytes_kept(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def files(self) -> int:
        """Those that have a name, or a place on the disk as long as somebody has them open."""
        opened = {os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)}
        deleted = [path for path in opened if path.startswith(str(self.folder)) and path.endswith(" (deleted)")]
        return len(list(self.folder.iterdir())) + len(deleted)


def test_flare_alone_opens_a_file_for_everybody_and_keeps_it(tmp_path: Path) -> None:
    """Once this fails, FLARE has mended it."""
    server = Server(tmp_path, ours=False)
    assert all(server.send_all("job", said="nobody"))
    for number in range(20):
        server.send(f"never ends {number}", 0, said="nobody", size=10**15)
    assert server.files == 21


@pytest.mark.parametrize("taken", [True, False])
def test_a_console_s_job_comes_whole_and_leaves_nothing(tmp_path: Path, taken: bool) -> None:
    server = Server(tmp_path, taken=taken)
    for name in ("one", "another"):
        assert all(server.send_all(name))
    assert server.whole == [3 * PIECE] * 2
    assert server.files == 0


@pytest.mark.parametrize("size", [LARGEST_UPLOAD + 1, 10**30, -1, "many", None, 1.5])
def test_no_file_is_opened_for_what_is_too_large(tmp_path: Path, size: Any) -> None:
    server = Server(tmp_path)
    assert not any(server.send_all("job", size=size))
    assert (server.files, server.whole) == (0, [])


@pytest.mark.parametrize("said", ["", "nobody"])
def test_no_file_is_opened_for_who_is_not_logged_in(tmp_path: Path, said: str) -> None:
    server = Server(tmp_path)
    assert not any(server.send_all("job", said=said))
    assert (server.files, server.whole) == (0, [])


def test_a_file_that_is_larger_than_was_said_is_removed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert [server.send("job", number, size=2500) for number in range(4)] == [True, True, False, False]
    assert (server.files, server.whole) == (0, [])


@pytest.mark.parametrize("data", [np.ones((1, 100_000)), np.ones(3000), np.array([PIECE * 4])])
def test_an_array_counts_by_its_bytes(tmp_path: Path, data: Any) -> None:
    """FLARE's consumer writes it whole, and counts its rows."""
    server = Server(tmp_path)
    assert not server.send("job", 0, data=data)
    assert (server.files, server.bytes_kept) == (0, 0)


def test_nobody_s_file_is_given_up_for_those_of_another_person(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert server.send("job", 0)
    for number in range(5 * AT_ONCE):
        assert server.send(f"never ends {number}", 0, said=ANOTHER)
        assert server.files <= AT_ONCE
    assert server.send("job", 1)
    assert server.send("job", 2, last=True)
    assert server.whole[-1] == 3 * PIECE


def test_of_many_files_that_never_end_few_are_kept_and_a_whole_one_still_comes(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for number in range(5 * AT_ONCE):
        assert server.send(f"never ends {number}", 0)
        assert server.files <= AT_ONCE
    assert not server.send("never ends 0", 1)
    assert all(server.send_all("job"))
    assert server.whole[-1] == 3 * PIECE
    assert server.bytes_kept <= AT_ONCE * len(PIECE)


def test_nothing_is_remembered_or_submitted_of_files_that_never_end(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for number in range(5 * AT_ONCE):
        assert server.send(f"never ends {number}", 0)
    deadline = time.monotonic() + 30.0
    while len(server.streamer.tx_table) > AT_ONCE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.streamer.tx_table) == AT_ONCE
    assert server.whole == []
