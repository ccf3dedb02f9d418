from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import AppConstants
from torch import Tensor

from fedgin.data.site import Modality
from fedgin.flare.executor import CAUSE, FedginExecutor
from fedgin.train.update import LocalUpdate
from tests.flare.runs import lay_out, make_context
from tests.fuzz.mutations import ODD_VALUES, check_text, fuzz, plain
from tests.sites import tiny_experiment

pytestmark = pytest.mark.timeout(300)
HEADERS = [AppConstants.CURRENT_ROUND, AppConstants.NUM_ROUNDS, AppConstants.MODEL_OWNER]
HEADERS += [AppConstants.VALIDATE_TYPE, "__content_type__", "__rc__", "__peer_props__"]
TASKS = [AppConstants.TASK_TRAIN, AppConstants.TASK_VALIDATION, AppConstants.TASK_SUBMIT_MODEL, "x", "", "\x1b[2J"]


class FakeSession:
    """Trains nothing; what is tested is on the way to it and back."""

    contract = SimpleNamespace(modality=Modality.CT)

    def train(self, received: dict[str, Tensor], number: int, total: int, *, stop: object) -> LocalUpdate:
        assert isinstance(number, int)
        return LocalUpdate(
            received,
            {"val_dice_mean": float("nan")},
            1.0,
            0.5,
            {"cases": 1, "slices": 1, "of_cases": 1, "of_slices": 1},
        )

    def validate(self, weights: dict[str, Tensor], owner: str, *, candidate: bool, stop: object) -> dict[str, float]:
        assert Path(owner).name == owner
        assert len(owner) <= 64
        return {"test_dice_mean": 0.5}

    def local_model(self) -> dict[str, Tensor]:
        return {"weight": torch.ones(1)}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> FLContext:
    workspace = lay_out(tmp_path_factory.mktemp("kit"), "site-1", tiny_experiment())
    return make_context(workspace, "site-1")


@st.composite
def tasks(draw: st.DrawFn) -> Shareable:
    """Draw a task with any headers."""
    task: Shareable = DXO(DataKind.WEIGHTS, data={"weight": np.ones(2)}).to_shareable()
    values = st.integers(0, 3) | st.sampled_from(ODD_VALUES) | plain
    for name, value in draw(st.dictionaries(st.sampled_from(HEADERS), values, max_size=4)).items():
        task.set_header(name, value)
    return task


@fuzz("executor")
@given(name=st.sampled_from(TASKS), task=tasks())
def test_every_task_gets_a_reply(context: FLContext, name: str, task: Shareable) -> None:
    executor: Any = FedginExecutor()
    executor._session = FakeSession()
    reply = executor.execute(name, task, context, Signal())
    assert reply.get_return_code() in {ReturnCode.OK, ReturnCode.TASK_UNKNOWN, ReturnCode.EXECUTION_EXCEPTION}
    if reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION:
        check_text(reply.get_header(CAUSE))
        assert "unforeseen" not in reply.get_header(CAUSE)
