"""FLARE's sender and receiver of messages, left as they were."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nvflare.fuel.f3.streaming import byte_streamer
from nvflare.fuel.f3.streaming.byte_receiver import RxTask


@contextmanager
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo at the end what changes them, and leave reference cycles alone until then."""
    with monkeypatch.context() as changes:
        changes.setattr(byte_streamer, "TxTask", byte_streamer.TxTask)
        changes.setattr(RxTask, "_schedule_remove_task", RxTask._schedule_remove_task)
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
