"""A job that scores a model is as closed as one that trains."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from pydantic import ValidationError

from fedgin.errors import ConfigError, FedginError
from fedgin.files import hash_file
from fedgin.flare.jobs.archive import check_archive
from fedgin.flare.jobs.job import Job, load_evaluation, load_job, write_job
from fedgin.flare.jobs.job_validator import JobValidator
from fedgin.train.experiment import EVALUATED_MODEL
from tests.flare.jobs.archives import archive_of
from tests.flare.jobs.evaluation_jobs import TEMPLATE, evaluating, evaluation_job, write_model
from tests.places import JOBS
from tests.sites import tiny_experiment


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return evaluation_job(tmp_path)


def refusal(job: Job) -> str:
    with pytest.raises(FedginError) as caught:
        load_job(job.folder)
    return str(caught.value)


def edit_experiment(job: Job, **changes: Any) -> None:
    path = job.folder / "app" / "config" / "experiment.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_bundle_completes_the_template(job: Job) -> None:
    assert (job.name, job.rounds, job.min_clients) == ("evaluate", 1, 3)
    assert job.evaluated is not None
    assert job.evaluated.name == "tiny-1"
    assert json.loads((job.folder / "meta.json").read_text())["name"] == "evaluate-tiny"
    config = job.folder / "app" / "config"
    for file in ("config_fed_server.json", "config_fed_client.json"):
        assert (config / file).read_bytes() == (TEMPLATE / "app" / "config" / file).read_bytes()


def test_no_site_can_be_asked_to_train(job: Job) -> None:
    client = json.loads((job.folder / "app" / "config" / "config_fed_client.json").read_text())
    assert [executor["tasks"] for executor in client["executors"]] == [["validate"]]


def test_the_template_alone_is_no_job_and_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"job evaluate has no experiment\.yaml") as caught:
        load_job(TEMPLATE)
    assert "--bundle BUNDLE" in caught.value.fix


def test_a_job_that_trains_takes_no_bundle(tmp_path: Path) -> None:
    model = tmp_path / EVALUATED_MODEL
    experiment = evaluating(write_model(model, tiny_experiment()))
    with pytest.raises(ConfigError, match="job abdomen_fedgin has an experiment of its own"):
        load_evaluation(JOBS / "abdomen_fedgin", experiment, model)


def test_a_copy_keeps_sites_times_and_the_number_that_is_needed(job: Job, tmp_path: Path) -> None:
    config = job.folder / "app" / "config" / "config_fed_server.json"
    config.write_text(config.read_text().replace('"validation_timeout": 43200', '"validation_timeout": 99'))
    copy = write_job(replace(load_job(job.folder), sites=("a", "b"), min_clients=2), tmp_path / "copy")
    assert (copy.sites, copy.min_clients, copy.numbers.validation_timeout) == (("a", "b"), 2, 99)
    assert (copy.folder / "app" / "config" / EVALUATED_MODEL).is_file()


@pytest.mark.parametrize("count", [0, 10**6, True, "3", None])
def test_how_many_sites_are_needed_is_a_number_within_its_bounds(job: Job, count: object) -> None:
    path = job.folder / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_clients": count}))
    assert "min_clients" in refusal(job)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "model.pt", "../model.safetensors", "metadata.json"])
def test_nothing_else_of_a_bundle_is_carried(job: Job, name: str) -> None:
    config = job.folder / "app" / "config"
    shutil.copyfile(config / EVALUATED_MODEL, config / name)
    assert "the job carries '" in refusal(job)


def test_a_job_that_trains_carries_no_model(job: Job, tmp_path: Path) -> None:
    training = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "training"))
    shutil.copyfile(job.folder / "app" / "config" / EVALUATED_MODEL, training / "app" / "config" / EVALUATED_MODEL)
    with pytest.raises(ConfigError, match=r"carries 'model\.safetensors', but evaluates nothing"):
        load_job(training)


def test_the_model_is_the_one_that_the_experiment_names(job: Job) -> None:
    model = job.folder / "app" / "config" / EVALUATED_MODEL
    model.write_bytes(safetensors.numpy.save({"w": np.zeros(3)}))
    assert "model.safetensors is not the file that 'evaluates.sha256' names" in refusal(job)
    model.unlink()
    assert "model.safetensors is missing" in refusal(job)


def test_a_pickle_with_the_right_hash_is_no_model(tmp_path: Path) -> None:
    model = tmp_path / EVALUATED_MODEL
    model.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(FedginError, match="holds no weights"):
        load_evaluation(TEMPLATE, evaluating(hash_file(model)), model)


def test_configuration_of_training_does_not_fit_an_evaluation_nor_the_other_way_round(job: Job, tmp_path: Path) -> None:
    for name in ("config_fed_server.json", "config_fed_client.json"):
        there = job.folder / "app" / "config" / name
        kept = there.read_bytes()
        shutil.copyfile(JOBS / "abdomen_fedgin" / "app" / "config" / name, there)
        assert name in refusal(job)
        there.write_bytes(kept)
    edit_experiment(job, evaluates=None)
    assert "num_rounds" in refusal(job)


@pytest.mark.parametrize(
    "changes",
    [
        {"resumes": {"job": "old", "round": 2}},
        {"federation": {"homomorphic_encryption": True}},
        {"network": {"name": "unet", "normalisation": "fedbn"}},
    ],
)
def test_what_is_evaluated_is_finished_readable_and_whole(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="evaluates needs a finished, readable, whole model"):
        evaluating(**changes)


def test_site_and_server_accept_it_and_refuse_another_model(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.check_manifest", lambda startup: None)
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.count_parameters", lambda experiment, classes, models: 1)
    (tmp_path / "kit").mkdir()
    validator = JobValidator(str(tmp_path / "kit"))
    assert validator.validate(str(job.folder / "app")) == ("", {})
    (job.folder / "app" / "config" / EVALUATED_MODEL).write_bytes(b"other")
    assert "is not the file that 'evaluates.sha256' names" in validator.validate(str(job.folder / "app"))[0]


def test_the_server_takes_its_archive(job: Job) -> None:
    assert check_archive(archive_of(job.folder), job.name).evaluated == job.evaluated
