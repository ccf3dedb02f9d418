from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.client.executor import FedginExecutor
from fedgin.flare.jobs.application import Application
from fedgin.flare.protocol import CAUSE
from fedgin.train.site.update import LocalUpdate
from tests.flare.runs import NUMBERS, lay_out, make_context
from tests.fuzz.mutations import check_text, fuzz, odd_values, plain
from tests.sites import tiny_experiment

pytestmark = pytest.mark.timeout(300)
COUNTS = [AppConstants.CURRENT_ROUND, AppConstants.NUM_ROUNDS]
HEADERS = [AppConstants.MODEL_OWNER, AppConstants.VALIDATE_TYPE, "__content_type__", "__rc__", "__peer_props__"]
Arrays = dict[str, NDArray[Any]]
TASKS = [AppConstants.TASK_TRAIN, AppConstants.TASK_VALIDATION, AppConstants.TASK_SUBMIT_MODEL, "x", "", "\x1b[2J"]


class FakeProcess:
    """Trains nothing; what is tested is on the way to it and back. It remembers which task reached it."""

    def __init__(self) -> None:
        self.reached = ""

    def train(self, received: Arrays, number: int, rounds: int, *, stop: object) -> LocalUpdate[NDArray[Any]]:
        assert all(type(count) is int and 0 <= count < 2**31 for count in (number, rounds))
        self.reached = AppConstants.TASK_TRAIN
        return LocalUpdate(
            received,
            {"val_dice_mean": float("nan")},
            1.0,
            0.5,
            {"cases": 1, "slices": 1, "of_cases": 1, "of_slices": 1},
        )

    def validate(self, weights: Arrays, owner: str, *, candidate: bool, stop: object) -> dict[str, float]:
        assert Path(owner).name == owner
        assert len(owner) <= 64
        self.reached = AppConstants.TASK_VALIDATION
        return {"test_dice_mean": 0.5}

    def local_model(self, *, stop: object) -> Arrays:
        self.reached = AppConstants.TASK_SUBMIT_MODEL
        return {"weight": np.ones(1)}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> FLContext:
    workspace = lay_out(tmp_path_factory.mktemp("kit"), "site-1", tiny_experiment())
    return make_context(workspace, "site-1")


@st.composite
def tasks(draw: st.DrawFn) -> Shareable:
    """Draw a task of the server whose headers are what they should be, or anything."""
    task: Shareable = DXO(DataKind.WEIGHTS, data={"weight": np.ones(2)}).to_shareable()
    values = odd_values | plain
    for name in COUNTS:
        task.set_header(name, draw(st.integers(0, 3) | values))
    for name, value in draw(st.dictionaries(st.sampled_from(HEADERS), values, max_size=2)).items():
        task.set_header(name, value)
    return task


def is_good(name: str, task: Shareable) -> bool:
    """Tell whether a task should be done: it brings a model, and of a task to train the round is one of the job."""
    number = task.get_header(AppConstants.CURRENT_ROUND)
    counted = type(number) is int and 0 <= number < NUMBERS.num_rounds
    whole = task.get_header("__content_type__") == "DXO"
    good = {AppConstants.TASK_TRAIN: whole and counted, AppConstants.TASK_VALIDATION: whole}
    return good.get(name, True)


@fuzz("executor")
@given(name=st.just(AppConstants.TASK_TRAIN) | st.sampled_from(TASKS), task=tasks())
def test_every_task_is_done_or_refused_before_it_reaches_training(
    context: FLContext, name: str, task: Shareable
) -> None:
    executor: Any = FedginExecutor()
    executor._process, executor._modality = FakeProcess(), "CT"
    executor._application = Application(tiny_experiment(), NUMBERS)
    reply = executor.execute(name, task, context, Signal())
    if name not in TASKS[:3]:
        assert reply.get_return_code() == ReturnCode.TASK_UNKNOWN
    elif is_good(name, task):
        assert (reply.get_return_code(), executor._process.reached) == (ReturnCode.OK, name), reply.get_header(CAUSE)
    else:
        assert (reply.get_return_code(), executor._process.reached) == (ReturnCode.EXECUTION_EXCEPTION, "")
        check_text(reply.get_header(CAUSE))
        assert "unforeseen" not in reply.get_header(CAUSE)
