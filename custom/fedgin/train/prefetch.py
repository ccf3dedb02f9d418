"""Read batches in a thread, before the step that needs them: what is read, and in which order, stays the same."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")


@contextmanager
def prefetched(source: Iterable[ItemT], ahead: int) -> Iterator[Iterator[ItemT]]:
    """Give the items of a source, up to ``ahead`` of which a thread has read before they are asked for.

    An error of the source is raised where its item is asked for, as the source raised it. The thread is gone when the
    ``with`` block is left, by an error or with items left over, too.

    Args:
        source: its ``iter`` is called here and not in the thread, because PyTorch's loader then draws from the global
            random stream, on which dropout depends.
        ahead: number of items; with 0 there is no thread, and an item is read when it is asked for.
    """
    items = iter(source)
    if not ahead:
        yield items
        return
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
    try:
        yield _in_order(items, ahead, reader)
    finally:
        reader.shutdown(cancel_futures=True)


def _in_order(items: Iterator[ItemT], ahead: int, reader: ThreadPoolExecutor) -> Iterator[ItemT]:
    def read() -> list[ItemT]:
        return list(islice(items, 1))  # empty at the end

    waiting: deque[Future[list[ItemT]]] = deque(reader.submit(read) for _ in range(ahead))
    while item := waiting.popleft().result():
        waiting.append(reader.submit(read))
        yield item[0]
