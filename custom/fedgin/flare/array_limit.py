"""A bound on the arrays that a process fetches for one message.

FLARE's messages hold references to their arrays. Who reads a message fetches them from its sender in pieces of 2 MB
until the sender says that this was all, before any of our code sees the message. So the bound is set where FLARE
fetches: at the one object of a process that reads arrays. What comes in the message itself has a bound of its own.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.app_common.np.np_downloader import ArrayConsumer
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.streaming.blob_streamer import BlobHandler
from nvflare.fuel.f3.streaming.download_service import download_object
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs import dots

# What each array of a message is instead, when its arrays were not fetched. No other array is this object.
UNFETCHED: NDArray[np.float32] = np.empty(0, np.float32)
# Bytes: of the widest number that a network has, and of what NumPy writes before an array.
WIDEST, HEADER = 8, 4096
# Bytes of a message that need no array: FLARE's own, and a site's metrics.
ROOM = 2**26
# A ciphertext of the project's keys holds 4096 values and has some 240 kB.
SLOTS, CIPHERTEXT = 4096, 2**19


def largest_message(sizes: Sequence[int], *, encrypted: bool) -> int:
    """Return how many bytes an honest site's largest message has at most, or its largest piece.

    Args:
        sizes: number of values of each entry of the job's network. One piece may hold the largest of them.
        encrypted: whether updates are ciphertexts, which come in the message itself.
    """
    if encrypted:
        return ROOM + CIPHERTEXT * sum(math.ceil(size / SLOTS) for size in sizes)
    return ROOM + WIDEST * sum(sizes)


def bound_messages(cell: Cell, most: int) -> None:
    """Refuse a message, or a piece of one, before it is received: its sender has to say how large it is.

    FLARE's own bound is 4 GB for each, and the same for all jobs of a kit (``streaming_max_blob_size``).

    Args:
        cell: of the job's process, with all that it receives registered.
        most: bytes.
    """
    for callback in cell.byte_receiver.registry.reg.values():
        if isinstance(handler := getattr(callback.cb, "__self__", None), BlobHandler):
            handler.max_blob_size = most


class ArrayLimit:
    """Lets this process fetch a number of values for a message, from :meth:`start` to :meth:`stop`.

    A message that refers to more becomes one with :data:`UNFETCHED` in place of every array. FLARE would end the whole
    job if the message could not be read, and so one site could.

    Args:
        most: the number of values, whatever their type, of all arrays together.
        tell: is given a line for the log when a message was not fetched.
        turn: makes what is entered before the arrays of a message are fetched, and left when they are.
        keep: returns an array as it is kept until the message has been read.
    """

    def __init__(
        self,
        most: int,
        tell: Callable[[str], None],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        keep: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
    ) -> None:
        self.most = most
        self.tell = tell
        self.turn = turn
        self.keep = keep

    def start(self) -> None:
        """Bound NumPy's arrays; where FLARE can read PyTorch's tensors, which nobody of ours sends, fetch none."""
        fobs.register(NumpyArrayDecomposer)  # unless FLARE has done so; what it registers later it leaves out
        fobs.get_dot_handler(dots.NUMPY_DOWNLOAD).download = self._fetch
        if tensors := fobs.get_dot_handler(dots.TENSOR_DOWNLOAD):
            tensors.download = self._refuse

    def stop(self) -> None:
        """Let FLARE fetch what it likes again; nothing happens if it was not bound."""
        for dot in (dots.NUMPY_DOWNLOAD, dots.TENSOR_DOWNLOAD):
            if handler := fobs.get_dot_handler(dot):
                vars(handler).pop("download", None)

    def _fetch(self, from_fqcn: str, **how: Any) -> tuple[str | None, Mapping[str, NDArray[Any]] | None]:
        """Stand for ``NumpyArrayDecomposer.download``: return an error, if there is one, and the arrays by item."""
        how.pop("fobs_ctx", None)
        consumer = _BoundedConsumer(self.most, self.keep)
        with self.turn():
            download_object(from_fqcn=from_fqcn, consumer=consumer, **how)
        if consumer.fault:
            return self._refuse(from_fqcn, fault=consumer.fault)
        return consumer.error, consumer.result

    def _refuse(self, from_fqcn: str, *, fault: str = "they are PyTorch's", **_: Any) -> tuple[str, "_Unfetched"]:
        self.tell(f"the arrays of a message of {from_fqcn[:80]} were not fetched: {fault}")
        return "", _Unfetched()


class _TooManyError(Exception):
    """The arrays of a message have more values than may be fetched."""


class _BoundedConsumer(ArrayConsumer):
    """Takes pieces as FLARE's own does, until they are too much.

    Attributes:
        fault: why no more was taken; empty while all is well.
    """

    def __init__(self, most: int, keep: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        super().__init__(None, {})
        self.most = self.left = most
        self.keep = keep
        self.fault = ""

    def consume_items(self, items: list[Any], result: dict[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
        """Add the arrays of a piece; with an exception FLARE tells the sender to stop."""
        arrays = {} if result is None else result
        try:
            for item in items:
                arrays.update(self._read(item))
        except _TooManyError:
            self.fault = f"they have more than the {self.most:,} values that may be fetched"
            raise
        except Exception as error:  # NumPy and zipfile raise many kinds for what is no array
            self.fault = f"they cannot be read ({type(error).__name__})"
            raise
        return arrays

    def _read(self, item: bytes) -> dict[str, NDArray[Any]]:
        with zipfile.ZipFile(io.BytesIO(item)) as archive:  # before it is unpacked: zeros can be packed by 1 to 1000
            members = archive.infolist()
        if sum(member.file_size for member in members) > self.left * WIDEST + len(members) * HEADER:
            raise _TooManyError
        arrays = self._to_dict(item)
        self.left -= sum(max(1, array.size, array.nbytes // WIDEST) for array in arrays.values())
        if self.left < 0:
            raise _TooManyError
        return {name: self.keep(array) for name, array in arrays.items()}


class _Unfetched(Mapping[str, NDArray[np.float32]]):
    """Has every item."""

    def __getitem__(self, item: str) -> NDArray[np.float32]:
        return UNFETCHED

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
