from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.server.round_recorder import RoundRecorder
from tests.flare.runs import lay_out, make_context
from tests.fuzz.mutations import fuzz, odd_values, plain
from tests.sites import tiny_experiment

pytestmark = pytest.mark.timeout(300)
odd = odd_values | plain


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> FLContext:
    return make_context(lay_out(tmp_path_factory.mktemp("server"), "server", tiny_experiment()), "server")


@fuzz("progress")
@given(metrics=odd | st.dictionaries(st.sampled_from(["val_dice_mean", "x"]), odd), frame=st.none() | odd)
def test_whatever_a_site_sends_is_noted_as_its_answer(context: FLContext, metrics: Any, frame: Any) -> None:
    update = DXO(DataKind.WEIGHT_DIFF, {"w": 0}, {MetaKey.INITIAL_METRICS: metrics}).to_shareable()
    if frame is not None:
        update["DXO"] = frame
    update.set_peer_props({})
    for key, value in (
        (FLContextKey.TASK_RESULT, update),
        (FLContextKey.TASK_NAME, "train"),
        (AppConstants.CURRENT_ROUND, 0),
    ):
        context.set_prop(key, value, private=True, sticky=False)
    progress = RoundRecorder()
    progress.handle_event(EventType.BEFORE_PROCESS_SUBMISSION, context)
    assert all(isinstance(value, float) for value in progress._rounds["0"]["unknown"].values())
