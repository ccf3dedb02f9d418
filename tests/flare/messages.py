"""FLARE's own sender and receiver of messages for a while, whatever was made of them before."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nvflare.fuel.f3.streaming import byte_streamer
from nvflare.fuel.f3.streaming.byte_receiver import RxTask

# Tests are imported before the first of them runs, which may lighten messages for the rest of the process.
_SENT, _DROP_LATER = byte_streamer.TxTask, RxTask._schedule_remove_task


@contextmanager
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with FLARE's own, leave them at the end as they were, and reference cycles alone until then."""
    with monkeypatch.context() as changes:
        changes.setattr(byte_streamer, "TxTask", _SENT)
        changes.setattr(RxTask, "_schedule_remove_task", _DROP_LATER)
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
