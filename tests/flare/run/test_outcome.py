"""How a job ended, read from a folder that may have been edited, or written by a server that is not ours."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedgin.errors import DataError
from fedgin.flare.run.outcome import RECORD, read_outcome
from fedgin.flare.run.results import JOB, RunResult
from tests.places import JOBS


def result_with(folder: Path, record: str) -> RunResult:
    shutil.copytree(JOBS / "abdomen_fedgin", folder / JOB / "abdomen_fedgin")
    (folder / RECORD).write_text(record)
    return RunResult(folder)


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"min_clients": None}, "min_clients"),
        ({"min_clients": "many"}, "min_clients"),
        ({"deploy_map": None}, "deploy_map"),
        ({"deploy_map": {"app": None}}, "deploy_map.app"),
        ({"deploy_map": {"app": [["a"]]}}, "deploy_map.app.0"),
        ({"deploy_map": {"\x1b[2J": 1}}, "deploy_map.\N{REPLACEMENT CHARACTER}[2J"),
        ({"job_deploy_detail": 5}, "job_deploy_detail"),
    ],
)
def test_a_record_that_is_none_of_flare_s_is_one_error(tmp_path: Path, record: dict[str, Any], place: str) -> None:
    with pytest.raises(DataError) as caught:
        read_outcome(result_with(tmp_path, json.dumps(record)))
    assert caught.value.problem == f"the record of job abdomen_fedgin is not as FLARE writes it: '{place}'"


@pytest.mark.parametrize("record", ["5", "{", "[" * 100_000])
def test_what_is_no_record_at_all_is_no_result(tmp_path: Path, record: str) -> None:
    with pytest.raises(DataError, match="is no result of a job"):
        read_outcome(result_with(tmp_path, record))


def test_a_record_that_says_little_leaves_the_job_as_it_was_submitted(tmp_path: Path) -> None:
    outcome = read_outcome(result_with(tmp_path, json.dumps({"job_deploy_detail": None, "more": [1]})))
    assert outcome.job.min_clients == 3
    assert outcome.fault == "it ended as None"
