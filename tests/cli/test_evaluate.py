"""`fedgin run jobs/evaluate --bundle`: what is submitted, and what the lead gets of what the sites answered."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nvflare.apis.job_def import RunStatus
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.errors import ConfigError, WeightsError
from fedgin.flare.jobs.job import load_job
from fedgin.flare.run.console import ConsoleError
from tests.cli.test_run import Server
from tests.deploy.bundles import make_bundle
from tests.flare.run.evaluations import lay_out_evaluation, organ, site_answer, without_intervals
from tests.places import JOBS

WHOLE = {"a": site_answer(), "b": site_answer(dice=0.6)}
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made")).folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    lay_out_evaluation(tmp_path / "left", WHOLE)
    server = Server("ab", tmp_path / "left", RunStatus.FINISHED_COMPLETED, [])

    @contextlib.contextmanager
    def connect(kit: Path) -> Iterator[Server]:
        yield server

    monkeypatch.setattr("fedgin.flare.run.console.connect", connect)
    return server


@pytest.fixture
def evaluates(bundle: Path, tmp_path: Path) -> Run:
    def run(*options: str, job: Path = JOBS / "evaluate", of: Path = bundle) -> Result:
        command = ["run", str(job), "--bundle", str(of), "--kit", "kit", "--out", str(tmp_path / "out"), *options]
        return CliRunner().invoke(app, command)

    return run


def test_the_sites_score_the_bundle_s_model_and_the_lead_gets_a_table(
    server: Server, evaluates: Run, tmp_path: Path, bundle: Path
) -> None:
    done = evaluates("--min-sites", "2")
    assert done.exit_code == 0, done.exception
    assert "sites: a, b; the evaluation needs 2 of them" in done.output
    assert "0.800 [0.70, 0.90]" in done.output
    assert "not scored, or new to the model: a: spleen: not labelled at the site" in done.output
    submitted = load_job(server.store)
    assert submitted.evaluated is not None
    assert (submitted.sites, submitted.min_clients) == (("a", "b"), 2)
    carried = server.store / "app" / "config" / "model.safetensors"
    assert carried.read_bytes() == (bundle / "models" / "model.safetensors").read_bytes()
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found >= {"report.html", "site_scores.csv"}
    assert "provenance.json" not in found, "nothing was trained, so there is nothing to export"


def test_an_interval_that_a_site_did_not_tell_is_explained(server: Server, evaluates: Run, tmp_path: Path) -> None:
    few = without_intervals(organ(0.8))
    lay_out_evaluation(tmp_path / "left", {"a": site_answer(mean=few, organs={"liver": few}), "b": WHOLE["b"]})
    done = evaluates("--min-sites", "2")
    assert done.exit_code == 0, done.exception
    assert "0.800 [-]" in done.output
    assert "tells no interval over fewer than 12 patients" in " ".join(done.output.split())


def test_a_missing_site_is_no_success_and_the_others_scores_are_kept(
    server: Server, evaluates: Run, tmp_path: Path
) -> None:
    lay_out_evaluation(tmp_path / "left", {"a": WHOLE["a"]})
    done = evaluates("--min-sites", "2")
    assert isinstance(done.exception, ConsoleError)
    assert "site b did not score the model; the job needs 2 sites" in done.exception.problem
    assert "resume" not in done.exception.fix
    assert "0.800 [0.70, 0.90]" in done.output
    assert "No success." in (tmp_path / "out" / "report.html").read_text()


def test_a_site_may_be_missing_when_the_lead_says_so(server: Server, evaluates: Run, tmp_path: Path) -> None:
    lay_out_evaluation(tmp_path / "left", {"a": WHOLE["a"]})
    done = evaluates("--min-sites", "1")
    assert done.exit_code == 0, done.exception
    assert "not scored, or new to the model: b: no scores came" in done.output


def test_a_bundle_that_was_changed_is_not_submitted(
    server: Server, evaluates: Run, bundle: Path, tmp_path: Path
) -> None:
    changed = make_bundle(tmp_path / "other").folder
    (changed / "models" / "model.safetensors").write_bytes(b"other weights")
    assert isinstance(evaluates(of=changed).exception, WeightsError)
    assert not server.store.exists()


def test_a_job_that_trains_and_a_number_of_rounds_do_not_go_with_a_bundle(server: Server, evaluates: Run) -> None:
    error = evaluates(job=JOBS / "abdomen_fedgin").exception
    assert isinstance(error, ConfigError)
    assert "has an experiment of its own" in error.problem
    error = evaluates("--rounds", "3").exception
    assert isinstance(error, ConfigError)
    assert "--rounds: an evaluation trains nothing" in error.problem
    assert not server.store.exists()


def test_without_a_bundle_the_fix_names_the_option(server: Server) -> None:
    error = CliRunner().invoke(app, ["run", str(JOBS / "evaluate"), "--kit", "kit"]).exception
    assert isinstance(error, ConfigError)
    assert "--bundle BUNDLE" in error.fix


def test_a_report_is_written_again_from_the_folder_alone(server: Server, evaluates: Run, tmp_path: Path) -> None:
    assert evaluates("--min-sites", "2").exit_code == 0
    for name in ("report.html", "site_scores.csv"):
        (tmp_path / "out" / name).unlink()
    done = CliRunner().invoke(app, ["report", str(tmp_path / "out")])
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "out" / "site_scores.csv").is_file()
