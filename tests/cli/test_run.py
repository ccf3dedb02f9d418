"""What the lead's console does before a job is submitted, and with what it left."""

import contextlib
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.job_def import RunStatus
from nvflare.fuel.flare_api.api_spec import MonitorReturnCode
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.cli.remaining import RemainingTime
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.checkpoint import CHECKPOINT
from fedgin.flare.jobs.files import CONFIG
from fedgin.flare.jobs.job import Job, load_job, stage_job, stage_resumed
from fedgin.flare.jobs.meta import make_meta
from fedgin.flare.protocol import DICE, STATS
from fedgin.flare.run.console import ConsoleError
from fedgin.folders import MARK, FolderError
from fedgin.train.provenance import FILE as PROVENANCE
from tests.flare.run.test_job_provenance import write_checkpoint
from tests.flare.run.test_results import lay_out
from tests.places import JOBS
from tests.sites import tiny_experiment


class Server:
    """Keeps what is submitted, and says that it ended with what the test laid out.

    Args:
        connected: names of sites.
        left: the server's run folder of every job.
        status: with which every job ends.
        failures: what the server shows as the sites' reasons.

    Attributes:
        refusal: why it refuses every job at its submission, as our server's JobManager notes it; none if it takes them.
    """

    refusal = ""

    def __init__(self, connected: str, left: Path, status: RunStatus, failures: list[str]) -> None:
        self.connected = connected
        self.left = left
        self.status = status
        self.failures = failures
        self.store = left.with_name("store")

    @property
    def submitted(self) -> dict[str, Any]:
        """Return the sites of the submitted job, and how many of them a round needs."""
        job = load_job(self.store)
        assert self._meta()["min_clients"] == job.min_clients
        return {"sites": "".join(job.sites), "needs": job.min_clients, "from": job.first_round}

    def get_connected_client_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.connected]

    def submit_job(self, folder: str) -> str:
        shutil.copytree(folder, self.store)
        return "job-1"

    def monitor_job_and_return_job_meta(
        self, job_id: str, *, poll_interval: float, cb: Callable[..., bool]
    ) -> tuple[MonitorReturnCode, dict[str, Any]]:
        cb(self, job_id, {"status": "RUNNING"})
        return MonitorReturnCode.JOB_FINISHED, self.get_job_meta(job_id)

    def show_stats(self, job_id: str, target: str) -> dict[str, Any]:
        return {"server": {"fedgin": {"failures": self.failures, "rounds": {}, "expected": []}}}

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        if self.refusal:
            refused = {"status": RunStatus.FAILED_TO_RUN.value, "job_deploy_detail": [self.refusal]}
            return {**make_meta("refused", 1, ()), "job_id": job_id, **refused}
        return {**self._meta(), "job_id": job_id, "status": self.status.value}

    def download_job_result(self, job_id: str, place: str) -> str:
        if self.refusal:
            (Path(place) / "job").mkdir()
            return place
        shutil.copytree(self.left, Path(place) / "workspace")
        shutil.copytree(self.store, Path(place) / "job" / "tiny")
        return place

    def _meta(self) -> dict[str, Any]:
        return dict(json.loads((self.store / "meta.json").read_text()))


class Lead:
    """The lead's folder with a job for two sites, and the server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        tiny = tiny_experiment().model_dump(mode="json")
        self.job: Job = stage_job(load_job(JOBS / "abdomen_fedgin"), folder / "tiny", sites=2, rounds=2, changes=tiny)
        self.monkeypatch = monkeypatch

    def meets(
        self, connected: str, rounds: list[list[str]], *, measured: str = "ab", failures: tuple[str, ...] = ()
    ) -> Server:
        status = RunStatus.FINISHED_COMPLETED if measured else RunStatus.FINISHED_ABORTED
        lay_out(self.folder / "left", rounds, tuple(measured))
        server = Server(connected, self.folder / "left", status, list(failures))

        @contextlib.contextmanager
        def connect(kit: Path) -> Iterator[Server]:
            yield server

        self.monkeypatch.setattr("fedgin.flare.run.console.connect", connect)
        return server

    def runs(self, *options: str, out: str = "out") -> Result:
        return self.says("run", str(self.job.folder), *options, out=out)

    def says(self, *command: str, out: str = "out") -> Result:
        return CliRunner().invoke(app, [*command, "--kit", "kit", "--out", str(self.folder / out)])

    @property
    def page(self) -> str:
        return (self.folder / "out" / "report.html").read_text()


@pytest.fixture
def lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lead:
    return Lead(tmp_path, monkeypatch)


WHOLE = [["a", "b"], ["a", "b"]]


def test_a_job_runs_on_all_connected_sites_by_name(lead: Lead) -> None:
    server = lead.meets("ab", WHOLE)
    done = lead.runs()
    assert done.exit_code == 0, done.exception
    assert server.submitted == {"sites": "ab", "needs": 2, "from": 0}
    assert "sites: a, b; every round needs 2 of them" in done.output
    assert "Every site measured the final model." in lead.page


@pytest.mark.parametrize(
    ("connected", "options", "said"),
    [
        ("abc", [], "is for 2 sites; connected: a, b, c (3)"),
        ("a", [], "is for 2 sites; connected: a (1)"),
        ("", [], "is for 2 sites; connected: none (0)"),
        ("ab", ["--min-sites", "3"], "--min-sites 3: connected: a, b (2)"),
    ],
)
def test_a_job_for_other_sites_than_are_connected_is_not_submitted(
    lead: Lead, connected: str, options: list[str], said: str
) -> None:
    server = lead.meets(connected, WHOLE)
    error = lead.runs(*options).exception
    assert isinstance(error, ConsoleError)
    assert said in error.problem
    assert not server.store.exists()
    if not options:
        assert f"--min-sites {max(1, len(connected))}" in error.fix


def test_more_sites_than_the_job_is_for_all_count_when_the_lead_says_so(lead: Lead) -> None:
    server = lead.meets("abc", WHOLE)
    error = lead.runs("--min-sites", "3").exception
    assert server.submitted == {"sites": "abc", "needs": 3, "from": 0}
    assert "round 1 has 2 of 3 updates" in str(error)
    assert "3 sites were expected. 2 of 6 updates are missing" in lead.page


def test_with_leniency_the_verdict_is_measured_against_the_number(lead: Lead) -> None:
    server = lead.meets("abc", WHOLE)
    done = lead.runs("--min-sites", "2")
    assert done.exit_code == 0, done.exception
    assert server.submitted == {"sites": "abc", "needs": 2, "from": 0}
    assert "<li>round 1, c, absent: sent nothing before the round was closed</li>" in lead.page
    assert "The job needs 2 sites a round." in lead.page


def test_the_verdict_of_a_followed_job_is_of_what_was_submitted(lead: Lead) -> None:
    lead.meets("abc", WHOLE)
    lead.runs("--min-sites", "3")
    error = lead.runs("--follow", "job-1").exception
    assert "round 1 has 2 of 3 updates" in str(error)


def test_a_job_that_was_submitted_past_us_needs_every_site_that_it_was_deployed_to(lead: Lead) -> None:
    server = lead.meets("ab", [["a", "b"], ["a"]])
    config = lead.job.folder / "app" / "config" / "config_fed_server.json"
    for path in (lead.job.folder / "meta.json", config):
        text = path.read_text().replace('"min_clients": 2', '"min_clients": 1')
        path.write_text(text.replace('"min_responses_required": 2', '"min_responses_required": 1'))
    server.submit_job(str(lead.job.folder))
    error = lead.runs("--follow", "job-1").exception
    assert "round 2 has 1 of 2 updates (b: it changes no weight)" in str(error)


def test_what_a_site_says_is_no_markup(lead: Lead) -> None:
    said = "site a, task train: [/] [bold]x[/bold] [link=file:x]y :warning:\n\x1b[2Jforged"
    lead.meets("ab", WHOLE, failures=(said,))
    done = lead.runs()
    assert done.exit_code == 0, done.exception
    assert "site a, task train: [/] [bold]x[/bold] [link=file:x]y :warning:\ufffd\ufffd[2Jforged\n" in done.output


def test_a_failed_job_has_its_report_before_the_error(lead: Lead) -> None:
    lead.meets("ab", [["a", "b"]], measured="")
    done = lead.runs()
    assert isinstance(done.exception, ConsoleError)
    assert "it ended as FINISHED:ABORTED" in done.exception.problem
    assert f"Report: {lead.folder / 'out' / 'report.html'}" in done.output
    assert "Model:" not in done.output
    assert "it ended as FINISHED:ABORTED" in lead.page


def test_the_page_of_a_job_that_no_site_took_says_why(lead: Lead) -> None:
    lead.meets("ab", [], measured="")
    assert isinstance(lead.runs().exception, ConsoleError)
    assert "it ended as FINISHED:ABORTED" in lead.page
    assert "0 of 2 rounds are complete so far." in lead.page
    assert 'http-equiv="refresh"' not in lead.page


CARRIES = ConfigError("the job carries 'app/custom'", "start from a folder under jobs/")


@pytest.mark.parametrize(
    ("refusal", "fix"),
    [
        (f"server: {CARRIES}", "start from a folder under jobs/; submit it anew: fedgin run JOB --kit KIT"),
        ("server: the job carries 'app/custom'", "submit it anew: fedgin run JOB --kit KIT"),
    ],
)
def test_a_job_that_the_server_refused_is_one_error_with_its_reason(lead: Lead, refusal: str, fix: str) -> None:
    server = lead.meets("ab", [], measured="")
    server.refusal = refusal
    for done in (lead.runs(), lead.says("fetch", "job-1", out="fetched"), lead.says("resume", "job-1", out="rest")):
        assert isinstance(done.exception, ConsoleError)
        assert done.exception.problem == "the server refused job job-1: the job carries 'app/custom'"
        assert done.exception.fix == fix
    assert "the job carries 'app/custom'" in lead.page.replace("&#39;", "'")
    assert not (lead.folder / "fetched").exists()


@pytest.mark.parametrize("detail", ["server: OK", "site-1: OK", "server: "])
def test_a_job_whose_files_are_lost_was_not_refused(lead: Lead, detail: str) -> None:
    server = lead.meets("ab", [], measured="")
    server.refusal = detail
    error = lead.says("fetch", "job-1", out="fetched").exception
    assert isinstance(error, ConsoleError)
    assert error.problem == "the server keeps no files of job job-1"


def test_a_job_is_resumed_on_its_own_sites(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    server = lead.meets("ab", [["a", "b"]], measured="")
    lead.runs()
    server.connected = "bc"
    monkeypatch.setattr("fedgin.flare.run.download.stage_resumed", lambda job, *_: job)
    error = lead.says("resume", "job-1", out="rest").exception
    assert isinstance(error, ConsoleError)
    assert "is for 2 sites (a, b); of them connected: b (1)" in error.problem


@pytest.mark.parametrize(("measured", "problem"), [("ab", "was completed"), ("a", "no round to go on after")])
def test_a_completed_job_is_resumed_only_when_it_was_not_measured(lead: Lead, measured: str, problem: str) -> None:
    lead.meets("ab", WHOLE, measured=measured)
    lead.runs()
    error = lead.says("resume", "job-1", out="rest").exception
    assert isinstance(error, FedginError)
    assert problem in error.problem


def test_an_earlier_result_is_replaced_only_when_told_so(lead: Lead) -> None:
    server = lead.meets("ab", WHOLE)
    assert lead.runs().exit_code == 0
    before = lead.page
    shutil.rmtree(server.store)
    error = lead.runs().exception
    assert isinstance(error, FolderError)
    assert not server.store.exists(), "refused before anything is submitted"
    assert lead.page == before
    (lead.folder / "out" / "notes.txt").write_text("mine")
    done = lead.runs("--overwrite")
    assert done.exit_code == 0, done.exception
    assert (lead.folder / "out" / "notes.txt").read_text() == "mine"


def test_by_default_each_run_has_a_folder_of_its_own(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    server = lead.meets("ab", WHOLE)
    monkeypatch.chdir(lead.folder)
    (lead.folder / "here").mkdir()
    for name in ("tiny", "tiny-2"):
        done = CliRunner().invoke(app, ["run", "here/../tiny/.", "--kit", "kit"])
        assert f"Report: runs/{name}/report.html" in done.output, done.exception
        shutil.rmtree(server.store)


def test_no_result_is_written_into_the_job(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job holds nothing but its own files: with a folder 'runs' in it no next run would be possible."""
    server = lead.meets("ab", WHOLE)
    monkeypatch.chdir(lead.job.folder)
    before = sorted(lead.job.folder.rglob("*"))
    error = CliRunner().invoke(app, ["run", ".", "--kit", "kit"]).exception
    assert isinstance(error, FolderError)
    assert not server.store.exists()
    assert sorted(lead.job.folder.rglob("*")) == before


def test_the_command_that_follows_again_is_whole_and_quoted(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    server = lead.meets("ab", WHOLE)
    out = lead.folder / "a folder with a long name, so long that a terminal of eighty letters would break the line"
    with monkeypatch.context() as patch:
        patch.setattr(server, "monitor_job_and_return_job_meta", _interrupted)
        done = lead.runs("--overwrite", out=out.name)
    assert done.exit_code == 130
    [line] = [line for line in done.output.splitlines() if line.startswith("Stopped. The job is left running.")]
    command = shlex.split(line.partition("again: ")[2])
    options = ["--follow", "job-1", "--kit", "kit", "--out", str(out), "--overwrite"]
    assert command == ["fedgin", "run", str(lead.job.folder), *options]
    assert CliRunner().invoke(app, command[1:]).exit_code == 0


def test_the_command_that_follows_again_has_the_rounds_that_were_asked_for(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lead.meets("ab", WHOLE)
    with monkeypatch.context() as patch:
        patch.setattr(server, "monitor_job_and_return_job_meta", _interrupted)
        done = lead.runs("--rounds", "7")
    command = shlex.split(done.output.splitlines()[-1].partition("again: ")[2])
    assert command[3:7] == ["--rounds", "7", "--follow", "job-1"]
    monkeypatch.setattr(server, "show_stats", lambda *_: stats(1))
    assert "round 1/7  validation Dice  a 0.500" in CliRunner().invoke(app, command[1:]).output


def test_a_number_of_sites_cannot_be_given_to_a_job_that_runs(lead: Lead) -> None:
    lead.meets("ab", WHOLE)
    lead.runs()
    error = lead.runs("--follow", "job-1", "--min-sites", "1", out="other").exception
    assert isinstance(error, ConfigError)
    assert error.problem == "--min-sites: the job that --follow names was submitted with its own"
    assert not (lead.folder / "other").exists()


def test_rounds_that_were_over_before_we_looked_say_nothing_about_time(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of ten rounds are over at the first look; each of the next two takes 100 s."""
    server = lead.meets("ab", WHOLE)
    seen = iter([stats(3), stats(4), stats(5)])
    ends = iter([1000.0, 1100.0])

    def monitor(job_id: str, *, poll_interval: float, cb: Callable[..., bool]) -> object:
        for _ in range(3):
            cb(server, job_id, {"status": "RUNNING"})
        return MonitorReturnCode.JOB_FINISHED, server.get_job_meta(job_id)

    monkeypatch.setattr(server, "monitor_job_and_return_job_meta", monitor)
    monkeypatch.setattr(server, "show_stats", lambda *_: next(seen))
    monkeypatch.setattr("fedgin.cli.follow_job.RemainingTime", lambda total: RemainingTime(total, lambda: next(ends)))
    server.submit_job(str(lead.job.folder))
    lines = [line for line in lead.runs("--follow", "job-1", "--rounds", "10").output.splitlines() if "/10" in line]
    assert [line.partition("a 0.500")[2].strip() for line in lines] == ["", "", "", "", "about 9 min left"]


def stats(complete: int) -> dict[str, Any]:
    """Return what the server tells while the round after so many complete ones runs."""
    rounds = {str(number): {"a": {DICE: 0.5}} for number in range(complete)}
    ours = {"failures": [], "rounds": rounds, "expected": ["a"]}
    return {"server": {STATS: ours, "ScatterAndGather": {"current_round": complete}}}


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_fetched_result_is_what_a_followed_one_is(lead: Lead) -> None:
    lead.meets("ab", WHOLE)
    assert lead.runs().exit_code == 0
    done = lead.says("fetch", "job-1", out="fetched")
    assert done.exit_code == 0, done.exception
    one, other = lead.folder / "out", lead.folder / "fetched"
    files = [{path.relative_to(each).as_posix() for path in each.rglob("*")} for each in (one, other)]
    assert files[0] == files[1] >= {"report.html", "job/tiny/meta.json", "job_record.json"}
    assert lead.says("fetch", "job-1", out="fetched").exit_code == 0, "the same job is fetched again"


def test_a_report_is_written_again_from_the_folder_alone(lead: Lead) -> None:
    lead.meets("ab", [["a", "b"]], measured="")
    lead.runs()
    (lead.folder / "out" / "report.html").unlink()
    done = CliRunner().invoke(app, ["report", str(lead.folder / "out")])
    assert isinstance(done.exception, ConsoleError)
    assert "No success" in lead.page
    assert "Every site" not in lead.page
    error = CliRunner().invoke(app, ["report", str(lead.folder)]).exception
    assert isinstance(error, FedginError)
    assert "is no result of a job" in error.problem


def resumed(lead: Lead) -> Path:
    """Let the server have the result of a job that was resumed; return the checkpoint that the job carries there."""
    server, checkpoint = lead.meets("ab", WHOLE), lead.folder / "kept"
    write_checkpoint(checkpoint, a="CT", b="CT")
    job = stage_resumed(replace(lead.job, rounds=5), "job-0", checkpoint, lead.folder / "rest")
    shutil.copytree(job.folder, server.store, ignore=shutil.ignore_patterns(MARK))
    return server.store / CONFIG / CHECKPOINT


def test_a_resumed_job_has_its_report(lead: Lead) -> None:
    resumed(lead)
    done = lead.says("fetch", "job-1")
    assert done.exit_code == 0, done.exception
    assert (lead.folder / "out" / PROVENANCE).is_file()


def test_a_damaged_checkpoint_of_a_resumed_job_does_not_take_the_report(lead: Lead) -> None:
    checkpoint = resumed(lead)
    checkpoint.write_bytes(checkpoint.read_bytes()[:40])
    done = lead.says("fetch", "job-1")
    assert isinstance(done.exception, ConsoleError)
    assert "checkpoint.safetensors is damaged" in done.exception.problem
    assert "restore the job store of the server from its backup" in done.exception.fix
    assert "No success. checkpoint.safetensors is damaged" in lead.page
    assert f"Report: {lead.folder / 'out' / 'report.html'}" in done.output
    assert not (lead.folder / "out" / PROVENANCE).exists()


def test_a_checkpoint_that_is_damaged_after_a_report_takes_the_provenance_back(lead: Lead) -> None:
    resumed(lead)
    assert lead.says("fetch", "job-1").exit_code == 0
    [kept] = (lead.folder / "out" / "job").glob(f"*/{CONFIG}/{CHECKPOINT}")
    kept.unlink()
    error = CliRunner().invoke(app, ["report", str(lead.folder / "out")]).exception
    assert isinstance(error, ConsoleError)
    assert "No success. checkpoint.safetensors does not exist" in lead.page
    assert not (lead.folder / "out" / PROVENANCE).exists()


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("", "go on with it: fedgin resume job-1"),
        ("t - X - ERROR - disk full\n", "mend the first cause below; what the server kept is in OUT\n  t - X"),
    ],
)
def test_what_to_do_about_a_job_that_ended_early_points_at_what_is_there(lead: Lead, log: str, advice: str) -> None:
    lead.meets("ab", [["a", "b"]], measured="")
    (lead.folder / "left" / "error_log.txt").write_text(log)
    error = lead.runs().exception
    assert isinstance(error, ConsoleError)
    assert error.fix.replace(str(lead.folder / "out"), "OUT").startswith(advice)


def test_a_dry_check_says_what_would_run_and_submits_nothing(lead: Lead) -> None:
    server = lead.meets("ab", WHOLE)
    done = lead.runs("--check", "--rounds", "7")
    assert done.exit_code == 0, done.exception
    assert "sites: a, b; every round needs 2 of them; 7 rounds" in done.output
    assert not server.store.exists()
    assert not (lead.folder / "out").exists()
    lead.meets("a", WHOLE)
    assert isinstance(lead.runs("--check").exception, ConsoleError)


def test_the_number_of_rounds_is_submitted(lead: Lead) -> None:
    server = lead.meets("ab", WHOLE)
    lead.runs("--rounds", "7")
    assert load_job(server.store).rounds == 7
    assert lead.job.rounds == 2, "the lead's own folder stays as it is"


def test_a_quiet_run_prints_nothing(lead: Lead) -> None:
    lead.meets("ab", WHOLE)
    done = lead.runs("--quiet")
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("get_connected_client_list", "Nothing was submitted."),
        ("submit_job", "The job may have been submitted: see fedgin jobs --kit kit"),
        ("monitor_job_and_return_job_meta", "The job is left running."),
        ("download_job_result", "The job has ended. Fetch its result: fedgin fetch job-1 --kit kit --out "),
    ],
)
def test_ctrl_c_ends_with_one_line_whatever_was_done(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, stage: str, said: str
) -> None:
    server = lead.meets("ab", WHOLE)
    monkeypatch.setattr(server, stage, _interrupted)
    done = lead.runs()
    assert done.exit_code == 130
    assert done.output.splitlines()[-1].startswith(f"Stopped. {said}")
