import io
from pathlib import Path

import pytest
import yaml

from fedgin.train.experiment import Experiment
from fedgin.train.site.messages import Message, read_message, told_error, write_message
from fedgin.train.site.worker import Worker
from tests.sites import tiny_experiment, write_site


def answers_to(folder: Path, *tasks: Message, experiment: Experiment | None = None) -> list[Message]:
    """Let a worker read all messages, then answer the tasks among them."""
    contract = write_site(folder / "data", "site-1", "MR")
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump((experiment or tiny_experiment()).model_dump(mode="json")))
    stream, answers, ended = io.BytesIO(), io.BytesIO(), []
    for task in tasks:
        write_message(stream, task)
    stream.seek(0)
    worker = Worker([str(path), str(contract), str(folder / "run"), str(folder)], stream, answers)
    worker.listen(lambda: ended.append(True))
    assert ended == [True]
    for _ in range(sum(task.kind != "stop" for task in tasks)):
        worker.answer_next()
    answers.seek(0)
    return list(iter(lambda: read_message(answers), None))


def start(**values: object) -> Message:
    weights = {name: value.numpy() for name, value in tiny_experiment().initial_network().state_dict().items()}
    return Message("train", {"number": 0, "rounds": 3, **values}, weights)


def test_training_answers_with_an_update_after_reports_of_preprocessing(tmp_path: Path) -> None:
    *reports, done = answers_to(tmp_path, start())
    assert [dict(report.values) for report in reports] == [
        {"what": "preprocessed", "done": case, "total": 4} for case in (1, 2, 3, 4)
    ]
    assert done.kind == "done"
    assert done.values["weight"] == 12
    assert set(done.arrays) == set(tiny_experiment().initial_network().state_dict())


def test_an_abort_stops_preprocessing_after_a_case_and_keeps_it(tmp_path: Path) -> None:
    report, stopped = answers_to(tmp_path, start(), Message("stop"))
    assert (report.kind, stopped.kind) == ("progress", "stopped")
    assert len(list((tmp_path / "data" / ".fedgin-cache").iterdir())) == 1


def test_a_new_task_is_not_stopped_by_an_abort_of_the_one_before(tmp_path: Path) -> None:
    assert answers_to(tmp_path, Message("stop"), start())[-1].kind == "done"


def test_a_foreseen_error_arrives_with_problem_and_fix(tmp_path: Path) -> None:
    [*_, error] = answers_to(tmp_path, Message("local_model"))
    assert error.kind == "error"
    assert error.values["problem"] == "local_model.pt does not exist"
    assert error.values["fix"]
    assert str(told_error(error)).endswith("[FG-030]")


def test_an_unforeseen_error_says_where_but_not_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/data/DOE_JANE_19470101.nii.gz")

    monkeypatch.setattr("fedgin.train.site.session.evaluate", fail)
    error = answers_to(tmp_path, start())[-1]
    assert "unforeseen RuntimeError at test_worker.py" in error.values["problem"]
    assert "DOE" not in str(error.values)
