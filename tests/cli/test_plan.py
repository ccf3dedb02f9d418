"""`fedgin plan`: from the fingerprints of sites to a job that they accept and train."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from nvflare.apis.job_def import RunStatus
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.data.appearance import read_fingerprints
from fedgin.data.site import load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.errors import ConfigError, DataError
from fedgin.flare.collection import FILE, Collection
from fedgin.flare.jobs.archive import check_archive
from fedgin.flare.jobs.job import load_job
from fedgin.flare.jobs.job_validator import JobValidator
from fedgin.flare.run.console import ConsoleError
from fedgin.folders import FolderError
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment
from fedgin.train.site.session import SiteSession
from tests.cli.test_run import Server
from tests.flare.jobs.archives import archive_of
from tests.planning.shared import fingerprint
from tests.sites import write_site


def plan(folder: Path, *found: dict[str, Any], options: tuple[str, ...] = (), out: str = "job") -> Result:
    paths = []
    for values in found:
        paths.append(str(folder / f"{values['site']}.json"))
        Path(paths[-1]).write_text(json.dumps(values))
    return CliRunner().invoke(app, ["plan", *paths, "--out", str(folder / out), *options])


def test_it_prints_why_and_writes_a_job_that_server_and_site_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = plan(tmp_path, fingerprint("a"), fingerprint("b", "MR", spacing=(1.5, 1.5, 8.0)))
    assert done.exit_code == 0, done.exception
    assert "Look at: b: its voxels measure 8 mm from inferior to superior" in done.output
    job = load_job(tmp_path / "job")
    assert (job.sites, job.min_clients, job.rounds) == (("a", "b"), 2, 20)
    assert check_archive(archive_of(job.folder), job.name).experiment == job.experiment
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.check_manifest", lambda startup: None)
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.count_parameters", lambda experiment, classes, models: 1)
    (tmp_path / "kit").mkdir()
    assert JobValidator(str(tmp_path / "kit")).validate(str(job.folder / "app")) == ("", {})


def test_sites_of_which_it_was_planned_train_it(tmp_path: Path) -> None:
    found, contracts = [], []
    for site, modality in (("a", "CT"), ("b", "MR")):
        contracts.append(load_site(write_site(tmp_path / site, site, modality, counts=(3, 1, 1))))
        found.append(json.loads(json.dumps(build_fingerprint(validate_site(contracts[-1]), bytes(32)))))
    done = plan(tmp_path, *found)
    assert done.exit_code == 0, done.exception
    planned = load_job(tmp_path / "job").experiment
    assert (planned.spatial_dims, planned.organs) == (2, ["liver", "spleen"])
    experiment = Experiment.model_validate(
        planned.model_dump() | {"training": planned.training.model_copy(update={"local_steps": 2}).model_dump()}
    )
    for contract in contracts:
        session = SiteSession(experiment, contract, tmp_path / f"run-{contract.site}")
        update = session.train(averaged_weights(experiment.initial_network()), 0, 1, stop=lambda: False)
        assert all(torch.isfinite(value).all() for value in update.difference.values())
        assert any(value.abs().max() > 0 for value in update.difference.values())


def test_a_job_that_was_edited_is_replaced_only_when_asked_and_what_is_not_ours_never(tmp_path: Path) -> None:
    found = [fingerprint("a"), fingerprint("b")]
    assert plan(tmp_path, *found).exit_code == 0
    edited = tmp_path / "job" / "app" / "config" / "experiment.yaml"
    edited.write_text(edited.read_text().replace("batch_size: 2", "batch_size: 3"))
    assert isinstance(plan(tmp_path, *found).exception, FolderError)
    assert "batch_size: 3" in edited.read_text()
    assert plan(tmp_path, *found, options=("--overwrite",)).exit_code == 0
    assert yaml.safe_load(edited.read_text())["training"] == {"batch_size": 2}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    assert isinstance(plan(tmp_path, *found, out="mine", options=("--overwrite",)).exception, FolderError)
    assert (tmp_path / "mine" / "file").read_text() == "mine"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server whose job left the fingerprints of a and b, and why there is none of c."""
    found = {site: fingerprint(site) for site in "ab"}
    Collection(found, {"c": "the site has not agreed to send its fingerprint"}).write(tmp_path / "left" / FILE)
    server = Server("abc", tmp_path / "left", RunStatus.FINISHED_COMPLETED, [])

    @contextlib.contextmanager
    def connect(kit: Path) -> Iterator[Server]:
        yield server

    monkeypatch.setattr("fedgin.flare.run.console.connect", connect)
    return server


def test_the_connected_sites_are_asked_and_who_has_not_agreed_is_named(server: Server, tmp_path: Path) -> None:
    done = plan(tmp_path, options=("--kit", "kit"))
    assert done.exit_code == 0, done.exception
    assert "Left out: c: the site has not agreed to send its fingerprint" in done.output
    asked = load_job(server.store)
    assert (asked.experiment.collects, asked.sites, asked.min_clients) == ("fingerprints", ("a", "b", "c"), 3)
    assert load_job(tmp_path / "job").sites == ("a", "b")
    kept = tmp_path / "job-fingerprints"
    assert {path.name for path in kept.glob("[!.]*")} == {"a.json", "b.json"}
    appearances = read_fingerprints(json.loads((kept / f"{site}.json").read_text()) for site in "ab")
    assert [item.modality.value for item in appearances] == ["CT"], "what 'fedgin export --fingerprint' reads"


def test_without_a_fingerprint_nothing_is_planned(server: Server, tmp_path: Path) -> None:
    Collection({}, dict.fromkeys("abc", "no")).write(tmp_path / "left" / FILE)
    done = plan(tmp_path, options=("--kit", "kit"))
    assert isinstance(done.exception, ConfigError)
    assert "no site sent its fingerprint" in done.exception.problem
    assert not (tmp_path / "job").exists()
    assert not (tmp_path / "job-fingerprints").exists()


def test_a_job_that_failed_is_no_plan(server: Server, tmp_path: Path) -> None:
    server.status = RunStatus.FINISHED_ABNORMAL
    done = plan(tmp_path, options=("--kit", "kit"))
    assert isinstance(done.exception, ConsoleError)
    assert "it ended as FINISHED:ABNORMAL" in done.exception.problem


def test_files_or_a_kit_are_given_and_not_both(tmp_path: Path) -> None:
    for found, options in (((), ()), ((fingerprint(),), ("--kit", "kit"))):
        assert isinstance(plan(tmp_path, *found, options=options).exception, ConfigError)


def test_nothing_is_written_of_a_plan_that_cannot_be_made(tmp_path: Path) -> None:
    refused = [
        plan(tmp_path, fingerprint("a"), fingerprint("b", verdict="FAIL")),
        plan(tmp_path, fingerprint("a", organs={"liver": 0.5}), fingerprint("b", organs={"aorta": 0.5})),
        plan(tmp_path, fingerprint("a"), fingerprint("b"), out="no job"),
    ]
    assert [type(done.exception) for done in refused] == [DataError, ConfigError, ConfigError]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
