"""Messages between two of FLARE's own cells, with the arrays on their way as in a job."""

import io
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tenseal
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ServerCommandNames
from nvflare.app_common.np.np_downloader import ArrayDownloadable
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply, new_cell_message
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.utils import fobs
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize

from fedgin.flare.array_limit import CIPHERTEXT, ROOM, UNFETCHED, ArrayLimit, bound_messages, largest_message
from tests.flare.server.encrypted import make_keys

MEGABYTE = 2**20
MOST = MEGABYTE // 4


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Pair:
    """A server and a site.

    Attributes:
        told: the lines for the server's log.
        pieces: the size of each array that the site was asked for, packed.
    """

    def __init__(self) -> None:
        nvflare_fobs_initialize()
        url = f"tcp://127.0.0.1:{free_port()}"
        self.server, self.site = (Cell(name, url, secure=False, credentials={}) for name in ("server", "site-1"))
        self.received: list[Any] = []
        self.told: list[str] = []
        self.pieces: list[int] = []
        self.server.register_request_cb(
            channel=CellChannel.SERVER_COMMAND, topic=ServerCommandNames.SUBMIT_UPDATE, cb=self._keep
        )
        for cell in (self.server, self.site):
            cell.start()

    def _keep(self, request: Any) -> Any:
        self.received.append(from_shareable(request.payload).data)
        return make_reply(ReturnCode.OK)

    def send(self, data: Any) -> Any:
        """Send an update; return what the server gets to see."""
        assert self.ask(data).get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK
        return self.received.pop()

    def ask(self, data: Any) -> Any:
        """Send an update; return the server's reply."""
        update = DXO(DataKind.WEIGHT_DIFF, data=data).to_shareable()
        return self.site.send_request(
            channel=CellChannel.SERVER_COMMAND,
            target="server",
            topic=ServerCommandNames.SUBMIT_UPDATE,
            request=new_cell_message({}, update),
            timeout=60.0,
        )

    def stop(self) -> None:
        for cell in (self.site, self.server):
            cell.stop()


@pytest.fixture(scope="module")
def cells() -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CoreCell, "ALL_CELLS", {})  # by which a process finds the cells that it has itself
        pair = Pair()
        yield pair
        pair.stop()
    CommConfigurator.reset()


@pytest.fixture
def pair(cells: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Bind the server to a network of 1 MB, and note what the site gives."""
    cells.told, cells.pieces = [], []
    give = ArrayDownloadable.produce_item

    def watched(self: ArrayDownloadable, index: int) -> bytes:
        item = give(self, index)
        cells.pieces.append(len(item))
        return item

    monkeypatch.setattr(ArrayDownloadable, "produce_item", watched)
    ArrayLimit(MOST, lambda line: cells.told.append(line)).start()
    return cells


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_an_update_as_large_as_the_network_is_fetched(pair: Pair, kind: type) -> None:
    sent: dict[str, NDArray[Any]] = {"a": np.arange(MOST - 1, dtype=kind), "b": np.ones((), kind)}
    seen = pair.send(sent)
    assert seen.keys() == sent.keys()
    assert all(np.array_equal(seen[name], sent[name]) and seen[name].dtype == kind for name in sent)
    assert pair.told == []


def test_every_array_is_kept_as_asked_and_fetched_inside_a_turn(pair: Pair) -> None:
    done: list[object] = []

    @contextmanager
    def turn() -> Iterator[None]:
        done.append("turn")
        yield
        done.append("over")

    def keep(array: NDArray[Any]) -> NDArray[Any]:
        done.append(array.size)
        return 2 * array

    ArrayLimit(MOST, pair.told.append, turn, keep).start()
    seen = pair.send({"a": np.ones(3, np.float32), "b": np.ones(1, np.float32)})
    assert (seen["a"].tolist(), seen["b"].tolist()) == ([2.0, 2.0, 2.0], [2.0])
    assert done == ["turn", 3, 1, "over"]


def test_an_update_that_is_50_mb_too_large_is_not_fetched_whole(pair: Pair) -> None:
    seen = pair.send({f"entry {number}": np.zeros(MEGABYTE // 4, np.float32) for number in range(50)})
    assert len(seen) == 50
    assert all(value is UNFETCHED for value in seen.values())
    assert sum(pair.pieces) < 8 * MEGABYTE
    assert pair.told == [
        "the arrays of a message of site-1 were not fetched: they have more than the 262,144 values that may be fetched"
    ]


def packed(zeros: int) -> bytes:
    """Pack zeros as NumPy reads them, small."""
    content = io.BytesIO()
    np.savez_compressed(content, T0=np.zeros(zeros, np.float32))
    return content.getvalue()


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: packed(64 * MEGABYTE), "they have more than the 262,144 values that may be fetched"),
        (lambda: packed(1)[:-30], "they cannot be read (BadZipFile)"),
        (bytes, "they cannot be read (BadZipFile)"),
    ],
    ids=["zeros packed small", "cut off", "empty"],
)
def test_a_hostile_piece_is_not_unpacked_and_the_next_update_is_fetched(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes], fault: str
) -> None:
    piece = make()
    assert len(piece) < MEGABYTE
    with monkeypatch.context() as hostile:
        hostile.setattr(ArrayDownloadable, "_get_item", lambda self, index, requester: piece)
        assert pair.send({"a": np.ones(1, np.float32)})["a"] is UNFETCHED
    assert pair.told == [f"the arrays of a message of site-1 were not fetched: {fault}"]
    assert np.array_equal(pair.send({"a": np.ones(1, np.float32)})["a"], [1.0])


def test_tensors_of_pytorch_are_not_fetched(pair: Pair) -> None:
    import torch

    fobs.register(TensorDecomposer)
    ArrayLimit(MOST, pair.told.append).start()
    assert pair.send({"a": torch.ones(2)})["a"] is UNFETCHED
    assert pair.told == ["the arrays of a message of site-1 were not fetched: they are PyTorch's"]


def test_flare_fetches_what_it_likes_when_the_run_is_over(pair: Pair) -> None:
    ArrayLimit(0, pair.told.append).stop()
    assert pair.send({"a": np.ones(2 * MOST, np.float32)})["a"].size == 2 * MOST
    assert pair.told == []


def test_a_message_that_holds_80_mb_itself_is_refused_and_the_next_one_is_read(pair: Pair) -> None:
    bound_messages(pair.server, largest_message([MOST], encrypted=False))
    reply = pair.ask({"a": bytes(80 * MEGABYTE)})
    assert reply.get_header(MessageHeaderKey.RETURN_CODE) != ReturnCode.OK
    assert pair.received == []
    assert pair.send({"a": bytes(MEGABYTE)}) == {"a": bytes(MEGABYTE)}


@pytest.mark.parametrize("size", [1, 4096, 4097, 20_000])
def test_an_entry_that_the_project_s_keys_encrypt_has_room(tmp_path: Path, size: int) -> None:
    _, key = make_keys(tmp_path / "key")
    encrypted = len(tenseal.ckks_vector(tenseal.context_from(key), [0.5] * size).serialize())
    room = largest_message([size], encrypted=True) - ROOM
    assert encrypted < 0.6 * room
    assert room <= CIPHERTEXT * (1 + size / 4096)
