"""How long FLARE waits until it sends a result once more."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from fedgin.flare.client.executor import FedginExecutor
from fedgin.flare.client.sending_time import SECONDS, SLOWEST


def seconds_for(result: Shareable) -> float:
    """Return what FLARE's runner would wait, which fires this event after the filters of a result."""
    runner, context = SimpleNamespace(submit_task_result_timeout=None), FLContext()
    context.set_prop(FLContextKey.RUNNER, runner, private=True)
    context.set_prop(FLContextKey.TASK_RESULT, result, private=True, sticky=False)
    FedginExecutor().handle_event(EventType.AFTER_TASK_RESULT_FILTER, context)
    return float(runner.submit_task_result_timeout)


def update(**entries: object) -> Shareable:
    return DXO(DataKind.WEIGHT_DIFF, data=entries).to_shareable()


def test_31_million_weights_have_time_over_a_line_on_which_five_minutes_are_too_few() -> None:
    megabytes = np.zeros(31_070_000, np.float32)
    half = megabytes.astype(np.float16)
    on_2_mbit = megabytes.nbytes * 8 / 2e6
    assert SECONDS < on_2_mbit < seconds_for(update(weight=megabytes)) / 2
    assert seconds_for(update(weight=megabytes)) == pytest.approx(megabytes.nbytes / SLOWEST)
    assert seconds_for(update(weight=half)) == pytest.approx(half.nbytes / SLOWEST)
    assert seconds_for(update(weight=bytes(megabytes.nbytes))) == pytest.approx(megabytes.nbytes / SLOWEST)


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 2000), min_size=1, max_size=4))
def test_a_small_result_keeps_flare_s_five_minutes(sizes: dict[str, int]) -> None:
    """Nobody notices earlier that the server's answer was lost."""
    assert seconds_for(update(**{name: np.zeros(size) for name, size in sizes.items()})) == SECONDS


@pytest.mark.parametrize(
    "result", [make_reply(ReturnCode.EXECUTION_EXCEPTION), DXO(DataKind.METRICS, data={"dice": 0.5}).to_shareable()]
)
def test_a_result_without_weights_keeps_them_too(result: Shareable) -> None:
    assert seconds_for(result) == SECONDS
