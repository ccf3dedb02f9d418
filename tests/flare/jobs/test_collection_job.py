"""A job that collects fingerprints asks for nothing else, and no other job can ask for them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.archive import check_archive
from fedgin.flare.jobs.job import Job, load_job, write_job
from fedgin.flare.jobs.job_validator import JobValidator
from fedgin.train.experiment import Experiment
from tests.flare.jobs.archives import archive_of
from tests.places import JOBS, TRAINING_JOBS

COLLECTS = Experiment(name="fingerprints", collects="fingerprints")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return write_job(Job(tmp_path / "none", COLLECTS, rounds=1, min_clients=2, sites=("a", "b")), tmp_path / "job")


def client_tasks(folder: Path) -> list[str]:
    values = json.loads((folder / "app" / "config" / "config_fed_client.json").read_text())
    return [task for executor in values["executors"] for task in executor["tasks"]]


def test_it_can_ask_for_fingerprints_alone_and_no_other_job_can(job: Job) -> None:
    assert client_tasks(job.folder) == ["fedgin_fingerprint"]
    for other in [*TRAINING_JOBS, JOBS / "evaluate"]:
        assert "fedgin_fingerprint" not in client_tasks(other)


def test_server_and_site_accept_it(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.check_manifest", lambda startup: None)
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.check_installed", lambda classes: None)
    assert check_archive(archive_of(job.folder), job.name).experiment == COLLECTS
    (tmp_path / "kit").mkdir()
    validator = JobValidator(str(tmp_path / "kit"))
    assert validator.validate(str(job.folder / "app")) == ("", {})
    experiment = job.folder / "app" / "config" / "experiment.yaml"
    experiment.write_text(yaml.safe_dump({"name": "x", "organs": ["liver"]}))
    assert "config_fed_server.json" in validator.validate(str(job.folder / "app"))[0]


def test_it_keeps_the_number_of_sites_that_it_needs(job: Job) -> None:
    again = load_job(job.folder)
    assert (again.sites, again.min_clients, again.rounds) == (("a", "b"), 2, 1)
    meta = job.folder / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"min_clients": 1}))
    with pytest.raises(ConfigError, match="min_clients"):
        load_job(job.folder)


@pytest.mark.parametrize(
    "values",
    [
        {"collects": "fingerprints", "organs": ["liver"]},
        {"collects": "fingerprints", "seed": 7},
        {"collects": "images"},
        {"organs": []},
        {},
    ],
)
def test_a_job_has_organs_or_collects_and_nothing_in_between(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Experiment.model_validate({"name": "x"} | values)


def test_a_file_beside_it_is_refused(job: Job) -> None:
    (job.folder / "app" / "config" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(FedginError):
        load_job(job.folder)
