from pathlib import Path

from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants
from nvflare.widgets.info_collector import GroupInfoCollector, InfoCollector

from fedgin.flare.executor import CAUSE
from fedgin.flare.progress import LONGEST_CAUSE, STATS, RoundProgress
from tests.flare.runs import lay_out, make_context
from tests.sites import tiny_experiment


def answer(progress: RoundProgress, context: FLContext, site: str, number: int, result: Shareable) -> None:
    result.set_peer_props({ReservedKey.IDENTITY_NAME: site})
    for key, value in (
        (FLContextKey.TASK_RESULT, result),
        (FLContextKey.TASK_NAME, "train"),
        (AppConstants.CURRENT_ROUND, number),
    ):
        context.set_prop(key, value, private=True, sticky=False)
    progress.handle_event(EventType.BEFORE_PROCESS_SUBMISSION, context)


def shown(progress: RoundProgress, context: FLContext) -> dict[str, object]:
    collector = GroupInfoCollector()
    context.set_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR, collector, private=True, sticky=False)
    progress.handle_event(InfoCollector.EVENT_TYPE_GET_STATS, context)
    found: dict[str, object] = collector.info[STATS]
    return found


def test_updates_and_failures_are_shown_with_their_sites(tmp_path: Path) -> None:
    context = make_context(lay_out(tmp_path, "server", tiny_experiment()), "server")
    progress = RoundProgress()
    update = DXO(DataKind.WEIGHT_DIFF, {"w": 0}, {MetaKey.INITIAL_METRICS: {"val_dice_mean": 0.25}}).to_shareable()
    answer(progress, context, "hospital-a", 0, update)
    reason = "case 3: image holds NaN. Fix: convert it again"
    answer(progress, context, "hospital-b", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: reason}))
    assert shown(progress, context) == {
        "rounds": {"0": {"hospital-a": {"val_dice_mean": 0.25}}},
        "failures": [f"site hospital-b, task train: {reason}"],
    }


def test_a_failure_without_reason_names_its_code_and_a_long_one_is_cut(tmp_path: Path) -> None:
    context = make_context(lay_out(tmp_path, "server", tiny_experiment()), "server")
    progress = RoundProgress()
    answer(progress, context, "a", 0, make_reply(ReturnCode.TASK_ABORTED))
    answer(progress, context, "b", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: "x" * 10_000}))
    failures = shown(progress, context)["failures"]
    assert isinstance(failures, list)
    first, second = failures
    assert first == f"site a, task train: return code {ReturnCode.TASK_ABORTED}"
    assert len(second) < LONGEST_CAUSE + 50
