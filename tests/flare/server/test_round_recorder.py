from pathlib import Path

import pytest
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.widgets.info_collector import GroupInfoCollector, InfoCollector

from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.participation import Absence, Contribution, RoundParticipation, read_participation
from fedgin.flare.protocol import AGGREGATED, CAUSE, DICE, MOST_METRICS, OUTLIERS, STATS, VERDICT
from fedgin.flare.server.round_recorder import LONGEST_CAUSE, RoundRecorder
from tests.flare.run.evaluations import site_answer
from tests.flare.runs import JOB, came_from, lay_out, make_context, start
from tests.sites import tiny_experiment


def run(folder: Path, *sites: str) -> tuple[RoundRecorder, FLContext]:
    """Start a run with its first round."""
    context = make_context(lay_out(folder, "server", tiny_experiment()), "server", sites)
    progress = RoundRecorder()
    start(progress, context)
    open_round(progress, context, 0)
    return progress, context


def open_round(progress: RoundRecorder, context: FLContext, number: int) -> None:
    context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=False)
    progress.handle_event(AppEventType.ROUND_STARTED, context)


def judge(progress: RoundRecorder, context: FLContext, site: str, verdict: Contribution | Absence) -> None:
    """Fire what FLARE fires when the aggregator has seen an update."""
    result = Shareable()
    came_from(site, result)
    context.set_prop(AppConstants.TRAINING_RESULT, result, private=True, sticky=False)
    context.set_prop(VERDICT, verdict, private=True, sticky=False)
    progress.handle_event(AppEventType.AFTER_CONTRIBUTION_ACCEPT, context)


def close_round(progress: RoundRecorder, context: FLContext, outliers: list[Absence], aggregated: bool = True) -> None:
    context.set_prop(OUTLIERS, outliers, private=True, sticky=False)
    context.set_prop(AGGREGATED, aggregated, private=True, sticky=False)
    progress.handle_event(AppEventType.AFTER_AGGREGATION, context)


def answer(progress: RoundRecorder, context: FLContext, site: str, number: int, result: Shareable) -> None:
    came_from(site, result)
    for key, value in (
        (FLContextKey.TASK_RESULT, result),
        (FLContextKey.TASK_NAME, "train"),
        (AppConstants.CURRENT_ROUND, number),
    ):
        context.set_prop(key, value, private=True, sticky=False)
    progress.handle_event(EventType.BEFORE_PROCESS_SUBMISSION, context)


def shown(progress: RoundRecorder, context: FLContext) -> dict[str, object]:
    collector = GroupInfoCollector()
    context.set_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR, collector, private=True, sticky=False)
    progress.handle_event(InfoCollector.EVENT_TYPE_GET_STATS, context)
    found: dict[str, object] = collector.info[STATS]
    return found


def test_updates_and_failures_are_shown_with_their_sites(tmp_path: Path) -> None:
    progress, context = run(tmp_path, "hospital-a", "hospital-b")
    update = DXO(DataKind.WEIGHT_DIFF, {"w": 0}, {MetaKey.INITIAL_METRICS: {"val_dice_mean": 0.25}}).to_shareable()
    answer(progress, context, "hospital-a", 0, update)
    reason = "case 3: image holds NaN. Fix: convert it again"
    answer(progress, context, "hospital-b", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: reason}))
    assert shown(progress, context) == {
        "expected": ["hospital-a", "hospital-b"],
        "rounds": {"0": {"hospital-a": {"val_dice_mean": 0.25}}},
        "scored": {},
        "failures": [f"site hospital-b, task train: {reason}"],
    }


def test_the_scores_of_an_evaluated_model_are_shown_and_other_metrics_are_not(tmp_path: Path) -> None:
    context = make_context(lay_out(tmp_path, "server", tiny_experiment()), "server", ("b", "a"))
    progress = RoundRecorder()
    start(progress, context)
    for site, metrics in (("a", site_answer()), ("b", {"test_dice_mean": 0.5})):
        result = came_from(site, DXO(DataKind.METRICS, data=metrics).to_shareable())
        for key, value in ((FLContextKey.TASK_RESULT, result), (FLContextKey.TASK_NAME, "validate")):
            context.set_prop(key, value, private=True, sticky=False)
        progress.handle_event(EventType.BEFORE_PROCESS_SUBMISSION, context)
    found = shown(progress, context)
    assert found["expected"] == ["a", "b"]
    assert found["scored"] == {"a": "Dice 0.800 [0.70, 0.90], 5 patients"}


def test_a_failure_without_reason_names_its_code_and_a_long_one_is_cut(tmp_path: Path) -> None:
    progress, context = run(tmp_path)
    answer(progress, context, "a", 0, make_reply(ReturnCode.TASK_ABORTED))
    answer(progress, context, "b", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: "x" * 10_000}))
    failures = shown(progress, context)["failures"]
    assert isinstance(failures, list)
    first, second = failures
    assert first == f"site a, task train: return code {ReturnCode.TASK_ABORTED}"
    assert len(second) < LONGEST_CAUSE + 50


def test_what_a_site_says_cannot_begin_a_line_or_steer_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    for log in ("log_info", "log_error"):
        monkeypatch.setattr(RoundRecorder, log, lambda _self, _context, line, **_: lines.append(line))
    progress, context = run(tmp_path, "a", "b")
    reason = "no\n2026-11-27 - ERROR - forged\x1b[2J" + "x" * 1000
    answer(progress, context, "a", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: reason}))
    answer(progress, context, "a", 0, make_reply("\x1b[2J"))
    update = DXO(DataKind.WEIGHT_DIFF, {"w": 0}, {MetaKey.INITIAL_METRICS: {"dice\n\x1b[2J": 0.5}}).to_shareable()
    answer(progress, context, "b", 0, update)
    progress.handle_event(EventType.END_RUN, context)
    [done] = written(tmp_path)
    said = [*lines, *(item.reason for item in done.failed), *(event.reason for event in read_log(tmp_path).events)]
    assert len(lines) == 3
    assert all(text.isprintable() for text in said)


UPDATE = Contribution("CT", 12.0, 1, 2, 5, 12)


def written(folder: Path) -> list[RoundParticipation]:
    return read_participation(folder / JOB)


def test_a_round_says_who_was_expected_who_contributed_and_why_others_did_not(tmp_path: Path) -> None:
    progress, context = run(tmp_path, "a", "b", "c", "d", "e")
    judge(progress, context, "a", UPDATE)
    judge(progress, context, "b", Absence("b", "entry 'w' holds NaN"))
    answer(progress, context, "c", 0, make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: "the disk is full"}))
    judge(progress, context, "d", UPDATE)
    close_round(progress, context, [Absence("d", "its size is 100 times the others'")])
    (done,) = written(tmp_path)
    assert (done.number, done.aggregated) == (0, True)
    assert done.expected == ["a", "b", "c", "d", "e"]
    assert done.contributed == {"a": UPDATE}
    assert {item.site: item.reason for item in done.absent} == {
        "b": "entry 'w' holds NaN",
        "c": "the disk is full",
        "d": "its size is 100 times the others'",
        "e": "sent nothing before the round was closed",
    }
    failures = shown(progress, context)["failures"]
    assert isinstance(failures, list)
    assert failures[0] == "site b, round 1: the update was refused: entry 'w' holds NaN"
    assert len(failures) == 3
    events = read_log(tmp_path).events
    assert [(event.kind, event.participant, event.reason) for event in events] == [
        (Kind.UPDATE_REFUSED, "b", "entry 'w' holds NaN"),
        (Kind.TASK_REFUSED, "c", "the disk is full"),
        (Kind.UPDATE_REFUSED, "d", "its size is 100 times the others'"),
    ]
    assert {event.job_id for event in events} == {JOB}


def test_a_late_update_is_noted_with_the_next_round_and_hides_no_good_one(tmp_path: Path) -> None:
    progress, context = run(tmp_path, "a", "b")
    judge(progress, context, "a", UPDATE)
    close_round(progress, context, [])
    judge(progress, context, "b", Absence("b", "it is late, of round 1"))
    open_round(progress, context, 1)
    for site in ("a", "b"):
        judge(progress, context, site, UPDATE)
    close_round(progress, context, [])
    first, second = written(tmp_path)
    assert [item.site for item in first.absent] == ["b"]
    assert second.absent == []
    assert second.refused == [Absence("b", "it is late, of round 1")]


@pytest.mark.parametrize("opened", [True, False])
def test_the_round_in_which_a_job_ends_is_written_once(tmp_path: Path, opened: bool) -> None:
    progress, context = run(tmp_path, "a", "b")
    judge(progress, context, "a", UPDATE)
    if not opened:
        close_round(progress, context, [], aggregated=False)
    progress.handle_event(EventType.END_RUN, context)
    (done,) = written(tmp_path)
    assert not done.aggregated
    assert done.contributed == {"a": UPDATE}


def test_a_site_that_sends_names_without_end_hides_nothing_and_is_told_of(tmp_path: Path) -> None:
    progress, context = run(tmp_path, "hospital-a")
    metrics = {f"m{number}": 0.5 for number in range(5000)} | {"n" * 200: 1.0, DICE: 0.75}
    meta = {MetaKey.INITIAL_METRICS: metrics}
    answer(progress, context, "hospital-a", 0, DXO(DataKind.WEIGHT_DIFF, data={"w": 1}, meta=meta).to_shareable())
    said = shown(progress, context)
    assert said["failures"] == ["site hospital-a, round 1: it sent 3978 metrics more than the 1024 that are kept"]
    [kept] = said["rounds"]["0"].values()  # type: ignore[index]
    assert (len(kept), kept[DICE]) == (MOST_METRICS, 0.75)
