"""A bound on how many sites fetch the model at once, and on how many updates are fetched at once.

FLARE serves all sites at the same time. Each has a piece of an array under way, up to a whole layer, of which the
server holds several copies: packed, as a message, and in the buffers of its line. And of each site the server holds
what it has of the update so far. So its memory grows with the sites, unless they take turns.

A site whose turn it is not gets an empty piece, and asks again; FLARE's protocol allows for that.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.app_common.np.np_downloader import ArrayDownloadable
from nvflare.fuel.f3.streaming.download_service import ProduceRC
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs import dots

# Sites in each direction: so many that their models have this many bytes together, but four at least: with two of three
# sites at a time a round over slow lines took half as long again.
BYTES_AT_ONCE, LEAST_AT_ONCE = 2**26, 4
# Seconds after which a site gets a turn whatever the others do: one that was cut off keeps its turn for minutes.
PATIENCE = 60.0
# Seconds for which an empty piece is kept back.
POLL = 0.2
# Updates that may wait at once. Each waits in one of FLARE's 64 threads, which the pieces of the others need, too.
PLACES = 32


def sites_at_once(model: int) -> int:
    """Return how many sites may fetch a model of so many bytes at once.

    Example:
        >>> sites_at_once(1_600_000), sites_at_once(8_000_000), sites_at_once(124_000_000)
        (41, 8, 4)
    """
    return max(LEAST_AT_ONCE, BYTES_AT_ONCE // model)


class Turns:
    """Lets so many go at a time, and whoever has waited for too long.

    Args:
        at_once: how many.
        patience: seconds after which nobody waits any longer.
        clock: of seconds.
    """

    def __init__(self, at_once: int, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._patience = patience
        self._clock = clock
        self._free = threading.Condition()
        self._having: set[Hashable] = set()
        self._since: dict[Hashable, float] = {}
        self._places = threading.Semaphore(PLACES)

    def wait(self, who: Hashable, seconds: float) -> bool:
        """Wait for so long at most; return whether it is the turn of ``who``, which it then is until :meth:`end`."""
        with self._free:
            self._since.setdefault(who, self._clock())
            if not self._free.wait_for(lambda: self._may_go(who), seconds):
                return False
            self._having.add(who)
            return True

    def _may_go(self, who: Hashable) -> bool:
        waited = self._clock() - self._since[who]
        return who in self._having or len(self._having) < self._at_once or waited >= self._patience

    def end(self, who: Hashable) -> None:
        """End the turn of ``who``, and its waiting."""
        with self._free:
            self._having.discard(who)
            self._since.pop(who, None)
            self._free.notify_all()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and end it; where too many wait already, go without one."""
        who = object()
        if self._places.acquire(blocking=False):
            self.wait(who, self._patience)
            self._places.release()
        try:
            yield
        finally:
            self.end(who)


class QueuedArrays(ArrayDownloadable):
    """Arrays of a message, which those who fetch them get one after the other.

    Args:
        arrays: by item.
        max_chunk_size: bytes of a piece, unless one array is larger.
        turns: shared by all messages of this process.
    """

    def __init__(self, arrays: dict[str, Any], max_chunk_size: int, turns: Turns) -> None:
        super().__init__(arrays, max_chunk_size)
        self._turns = turns
        self._asked: set[str] = set()

    def produce(self, state: dict[str, Any], requester: str) -> tuple[str, Any, dict[str, Any]]:
        """Return a piece as FLARE does, or an empty one and the state as it was."""
        self._asked.add(requester)
        if not self._turns.wait((id(self), requester), POLL):
            return ProduceRC.OK, [], dict(state or {})
        code = ProduceRC.ERROR  # unless there is a piece: FLARE may have given the arrays up while this one waited
        try:
            code, items, after = super().produce(state, requester)
        finally:
            if code != ProduceRC.OK:
                self._turns.end((id(self), requester))
        return code, items, after

    def transaction_done(self, transaction_id: str, status: str) -> None:
        """End the turns of all who have not fetched to the end."""
        super().transaction_done(transaction_id, status)
        for requester in self._asked:
            self._turns.end((id(self), requester))


class ModelQueue:
    """Lets sites take turns in fetching the arrays of this process's messages, from :meth:`start` to :meth:`stop`.

    Args:
        at_once: how many sites fetch at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._turns = Turns(at_once)

    def start(self) -> None:
        """Queue the arrays of every message from now on."""
        fobs.register(NumpyArrayDecomposer)  # unless FLARE has done so; what it registers later it leaves out
        fobs.get_dot_handler(dots.NUMPY_DOWNLOAD).to_downloadable = self._queue

    def stop(self) -> None:
        """Serve all at once again."""
        if handler := fobs.get_dot_handler(dots.NUMPY_DOWNLOAD):
            vars(handler).pop("to_downloadable", None)

    def _queue(self, items: dict[str, Any], max_chunk_size: int, fobs_ctx: dict[str, Any]) -> QueuedArrays:
        """Stand for ``NumpyArrayDecomposer.to_downloadable``."""
        return QueuedArrays(items, max_chunk_size, self._turns)
