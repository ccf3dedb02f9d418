"""What the server keeps of the sites' answers in FLARE's own cross-site evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.client import Client
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.workflows.cross_site_model_eval import CrossSiteModelEval

from fedgin.flare.protocol import EVALUATED, SERVER_MODEL
from fedgin.flare.run.results import RunResult, read_cross_site
from fedgin.flare.server.cross_site_results import CrossSiteResults
from tests.flare.run.evaluations import site_answer
from tests.flare.runs import JOB, lay_out_server, make_context, start
from tests.sites import tiny_experiment

LAST, SCORED = f"{SERVER_MODEL}FL_global_model.pt", f"{SERVER_MODEL}{EVALUATED}"


class Evaluation(CrossSiteModelEval):
    """FLARE's controller, past its start, with our component beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        flare_decomposers.register()
        workspace = lay_out_server(folder, tiny_experiment())
        self.result = RunResult(Path(workspace.get_run_dir(JOB)))
        self.kept, self.context = CrossSiteResults(), make_context(workspace, "server")
        self.context.get_engine().fire_event = self.kept.handle_event
        kept = self.result.cross_site.with_name("result_shareables")
        kept.mkdir(parents=True)
        self._cross_val_results_dir = str(kept)
        start(self.kept, self.context)

    def answer(self, site: str, result: Shareable, model: object = LAST) -> None:
        result.add_cookie(AppConstants.MODEL_OWNER, model)
        self.context.set_prop(FLContextKey.TASK_RESULT, result, private=True, sticky=False)
        self.kept.handle_event(EventType.BEFORE_PROCESS_SUBMISSION, self.context)
        self.process_result_of_unknown_task(Client(site, "token"), "validate", "task", result, self.context)

    def written(self) -> Any:
        self.kept.handle_event(EventType.END_RUN, self.context)
        return json.loads(self.result.cross_site.read_text())


def metrics(values: object) -> Shareable:
    """Return an answer that the stock DXO would not even let an honest site make."""
    dxo = DXO(DataKind.METRICS, data={})
    dxo.data = values
    answer: Shareable = dxo.to_shareable()
    return answer


def collection(**parts: DXO) -> Shareable:
    answer: Shareable = DXO(DataKind.COLLECTION, data=parts).to_shareable()
    return answer


def test_numbers_are_kept_by_site_and_model(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path)
    evaluation.answer("a", metrics({"val_dice_mean": 0.5, "word": "x", b"x": 1.0}))
    evaluation.answer("a", metrics({"val_dice_mean": 0.25}), model="b")
    evaluation.answer("b", metrics({"val_dice_mean": 0.75}))
    assert evaluation.written() == {
        "a": {LAST: {"val_dice_mean": 0.5, "b'x'": 1.0}, "b": {"val_dice_mean": 0.25}},
        "b": {LAST: {"val_dice_mean": 0.75}},
    }
    assert [path.name for path in evaluation.result.cross_site.parent.glob("*.json")] == ["cross_val_results.json"]


BAD = {
    "a collection": collection(x=DXO(DataKind.METRICS, data={"val_dice_mean": 1.0})),
    "a collection with a list": collection(x=DXO(DataKind.APP_DEFINED, data={"x": [1]})),
    "a collection with a path": collection(**{"/../../x": DXO(DataKind.METRICS, data={"val_dice_mean": 1.0})}),
    "weights": DXO(DataKind.WEIGHTS, data={"w": 1.0}).to_shareable(),
    "a list": metrics([0.5]),
    "a huge number": metrics({"val_dice_mean": 10**400}),
    "nothing": Shareable(),
    "an error": make_reply(ReturnCode.EXECUTION_EXCEPTION),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_site_with_another_answer_is_left_out_and_the_others_are_not(tmp_path: Path, bad: str) -> None:
    evaluation = Evaluation(tmp_path)
    evaluation.answer("a", metrics({"val_dice_mean": 0.5}))
    evaluation.answer("b", BAD[bad])
    assert evaluation.written() == {"a": {LAST: {"val_dice_mean": 0.5}}}
    assert read_cross_site(evaluation.result.cross_site) == {"a": {LAST: {"val_dice_mean": 0.5}}}
    assert [path.name for path in evaluation.result.cross_site.with_name("result_shareables").iterdir()] == [
        f"a_{LAST}"
    ]


@pytest.mark.parametrize("model", [b"x", "../x", "x" * 200, None, ["x"], {"a": 1}, "a\0b", "€" * 120])
def test_what_names_no_model_is_left_out_and_stops_nobody(tmp_path: Path, model: object) -> None:
    evaluation = Evaluation(tmp_path)
    evaluation.answer("a", metrics({"val_dice_mean": 0.5}), model)
    evaluation.answer("b", metrics({"val_dice_mean": 0.75}))
    assert evaluation.written() == {"b": {LAST: {"val_dice_mean": 0.75}}}


def test_a_site_that_is_left_out_is_named_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Evaluation(tmp_path).answer("b", metrics([0.5]))
    ours = [record for record in caplog.records if record.name.endswith("CrossSiteResults")]
    assert ["site b: its answer to 'validate' is left out" in record.getMessage() for record in ours] == [True]
    assert not [record for record in caplog.records if record.exc_info]


def test_of_an_evaluated_model_one_site_has_one_set_of_scores(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path)
    for site in ("a", "b", "c", "d"):
        answer = site_answer("MR") if site == "b" else site_answer(dice=7.0) if site == "c" else site_answer()
        split = {name: DXO(DataKind.METRICS, data=answer) for name in ("0", "1")}
        evaluation.answer(site, collection(**split) if site == "d" else metrics(answer), SCORED)
    assert list(evaluation.result.scored) == ["a", "b"]
    assert evaluation.written().keys() == {"a", "b"}
    assert list(evaluation.result.scores) == ["a", "b"]


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_disk(values: object, file: Any, **_: object) -> None:
        file.write('{"a": ')
        raise OSError(28, "No space left on device")

    evaluation = Evaluation(tmp_path)
    monkeypatch.setattr("nvflare.app_common.widgets.validation_json_generator.json.dump", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        evaluation.kept.handle_event(EventType.END_RUN, evaluation.context)
    assert [path.name for path in evaluation.result.cross_site.parent.iterdir()] == ["result_shareables"]
