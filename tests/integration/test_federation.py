"""A provisioned federation: server, three sites and consoles as real processes with TLS on loopback."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from nvflare.fuel.flare_api.api_spec import AuthorizationError, InternalError, JobNotFound
from nvflare.fuel.flare_api.flare_api import Session
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.jobs.job import Job, load_job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import ConsoleError, connect, submit
from fedgin.flare.run.download import fetch
from fedgin.flare.run.follow import follow
from fedgin.flare.run.outcome import read_outcome
from fedgin.flare.run.results import RunResult
from fedgin.flare.server.job_manager import EMPTY
from fedgin.train.checkpoint import averaged_weights, load_checkpoint
from poc.federation import PEOPLE, SERVER, LocalFederation
from tests.deploy.bundles import make_bundle
from tests.integration.attacks import ATTACKS, Attack, edit, overwrite_a_file, submit_as_it_is
from tests.integration.faults.setting import job_process, server_job_process
from tests.integration.three_sites import SITES, federation_of_three, stage_tiny
from tests.places import JOBS

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    # Of three training cases a fingerprint says something.
    with federation_of_three(tmp_path_factory.mktemp("federation"), training=3) as made:
        yield made


# Where the server keeps what was submitted.
STORED = "storage/rehearsal/jobs/{}/data"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return stage_tiny("abdomen_fedgin", tmp_path / "tiny")


def test_the_lead_runs_a_job_and_gets_model_and_report(federation: LocalFederation, job: Job, tmp_path: Path) -> None:
    kit, out = federation.admin(Role.LEAD), tmp_path / "out"
    before = {path.name for path in job.folder.rglob("*")}
    done = CliRunner().invoke(app, ["run", str(job.folder), "--kit", str(kit), "--out", str(out)])
    assert done.exit_code == 0, done.output
    for number in (1, 2):
        assert f"round {number}/2  validation Dice  ct-a 0." in done.output
    result = RunResult(out)
    assert [sorted(metrics.sites) for metrics in result.rounds] == [sorted(SITES)] * 2
    weights = load_checkpoint(result.last_model)["model"]
    assert weights.keys() == averaged_weights(job.experiment.initial_network()).keys()
    page = (out / "report.html").read_text()
    assert "3 sites were expected. Each sent an update in every one of 2 rounds, 0 were refused." in page
    assert {path.name for path in (out / "tb_events").iterdir()} >= set(SITES)
    # FLARE signs the folder it is given; the lead's own stays clean.
    assert {path.name for path in job.folder.rglob("*")} == before
    assert "round 2: site mr-a sent its update" in (out / "log.txt").read_text()


def test_the_sites_score_a_bundle_without_training(federation: LocalFederation, tmp_path: Path) -> None:
    """Two of the sites agree to show their one test case each; ct-b does not, so nothing of it is told."""
    for site in ("ct-a", "mr-a"):
        contract = federation.kit(site) / "local" / "site.yaml"
        contract.write_text(contract.read_text().replace("share_case_scores: false", "share_case_scores: true"))
    bundle, out = make_bundle(tmp_path).folder, tmp_path / "out"
    command = ["run", str(JOBS / "evaluate"), "--bundle", str(bundle), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--kit", str(federation.admin(Role.LEAD))])
    assert done.exit_code == 0, done.exception
    scores = RunResult(out).scores
    assert sorted(scores) == sorted(SITES)
    assert all(site.unlabelled == ("left_kidney",) for site in scores.values())
    assert [len(scores[site].rows or ()) for site in ("ct-a", "mr-a", "ct-b")] == [1, 1, 0]
    assert (scores["ct-b"].patients, scores["ct-b"].withheld) == ("<3", ("liver",))
    assert "ct-b: left_kidney: not labelled at the site; liver: withheld" in (out / "report.html").read_text()
    assert "site mr-a has scored the model: Dice" in (out / "log.txt").read_text()
    assert not (out / "app_server" / "FL_global_model.pt").exists()


def test_the_sites_that_agree_send_their_fingerprints_and_a_job_is_planned(
    federation: LocalFederation, tmp_path: Path
) -> None:
    """Two of the sites agree; ct-b does not, is named, and nothing of it is sent."""
    for site in SITES:
        contract = federation.kit(site) / "local" / "site.yaml"
        agreed = "false" if site == "ct-b" else "true"
        contract.write_text(contract.read_text().replace("share_fingerprint: false", f"share_fingerprint: {agreed}"))
        assert CliRunner().invoke(app, ["site", "validate", str(contract)]).exit_code < 2
    command = ["plan", "--kit", str(federation.admin(Role.LEAD)), "--out", str(tmp_path / "planned")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.exception
    assert "Left out: ct-b: the site has not agreed to send its fingerprint" in done.output
    assert load_job(tmp_path / "planned").sites == ("ct-a", "mr-a")
    kept = {path.name: json.loads(path.read_text()) for path in (tmp_path / "planned-fingerprints").glob("[!.]*.json")}
    assert {name: values["modality"] for name, values in kept.items()} == {"ct-a.json": "CT", "mr-a.json": "MR"}
    refused = read_log(federation.kit("ct-b")).events[-1]
    assert (refused.kind, refused.task) == (Kind.TASK_REFUSED, "fedgin_fingerprint")


def refusal(federation: LocalFederation, job: Job, role: Role = Role.LEAD) -> str:
    """Submit a job that must not run, as it is; return what the server says of it."""
    with connect(federation.admin(role)) as session:
        job_id = submit_as_it_is(session, job.folder)
        meta = follow(session, job_id, on_status=lambda text: None, on_round=lambda metrics: None)
    assert meta["status"] == "FINISHED:FAILED_TO_RUN"
    [said] = meta["job_deploy_detail"]
    assert said.startswith("server: ")
    assert (federation.folder.parent / STORED.format(job_id)).read_bytes() == EMPTY
    return str(said)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_before_it_is_stored_and_stands_in_the_security_log(
    federation: LocalFederation, job: Job, tmp_path: Path, attack: Attack
) -> None:
    marker = tmp_path / "owned"
    attack(job.folder, marker, str(federation.folder.parent / "storage" / "rehearsal" / "jobs"))
    assert ATTACKS[attack] in refusal(federation, job)
    assert not marker.exists()
    refused = read_log(federation.kit(SERVER)).events[-1]
    assert (refused.kind, refused.person, refused.role) == (Kind.JOB_REFUSED, PEOPLE[Role.LEAD], "lead")
    assert ATTACKS[attack] in refused.reason


@pytest.mark.parametrize("name", ["subprocess.Popen", "nvflare.app_common.np.np_model_persistor.NPModelPersistor"])
def test_a_job_with_another_class_is_refused(federation: LocalFederation, job: Job, tmp_path: Path, name: str) -> None:
    payload = {"id": "x", "path": name, "args": {"args": ["touch", str(tmp_path / "owned")]}}
    edit(job.folder, "config_fed_server.json", lambda values: values["components"].append(payload))
    assert "config_fed_server.json: 'components.12' does not belong there" in refusal(federation, job)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("role", [Role.LEAD, Role.PROJECT_ADMIN])
def test_a_job_with_code_is_refused(federation: LocalFederation, job: Job, tmp_path: Path, role: Role) -> None:
    code = job.folder / "app" / "custom" / "evil.py"
    code.parent.mkdir()
    code.write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    assert "the job carries 'tiny/app/custom" in refusal(federation, job, role)
    assert not (tmp_path / "owned").exists()


def test_a_target_in_the_experiment_is_refused(federation: LocalFederation, job: Job) -> None:
    with (job.folder / "app" / "config" / "experiment.yaml").open("a") as file:
        file.write("_target_: os.system\n")
    assert "'_target_': unknown key" in refusal(federation, job)


# What a role may do in the console: rows of provisioning/policies/*/authorization.json, tried one by one.
MAY: dict[str, set[Role]] = {
    "list_jobs": set(Role),
    "check_status": set(Role),
    "submit_job": {Role.PROJECT_ADMIN, Role.LEAD},
    "download_job": {Role.PROJECT_ADMIN},
    "clone_job": {Role.PROJECT_ADMIN},
    "abort_job": {Role.PROJECT_ADMIN},
    "report_resources of ct-a": {Role.PROJECT_ADMIN, Role.ORG_ADMIN},
    "report_resources of mr-a": {Role.PROJECT_ADMIN},
    "disable_client": {Role.PROJECT_ADMIN},
    "shell: ls server": set(),
    "shell: ls ct-a": set(),
}


def attempt(session: Session, operation: str, job_id: str, job: Job) -> Any:
    """Do one operation of the console on a job that a project_admin submitted."""
    actions: dict[str, Callable[[], Any]] = {
        "list_jobs": lambda: session.list_jobs(),
        "check_status": lambda: session.check_status("server"),
        "submit_job": lambda: _aborted(session, submit(session, job)),
        "download_job": lambda: session.download_job_result(job_id, str(job.folder.parent / "got")),
        "clone_job": lambda: _aborted(session, session.clone_job(job_id)),
        "abort_job": lambda: session.abort_job(job_id),
        "report_resources of ct-a": lambda: session.report_resources("client", ["ct-a"]),
        "report_resources of mr-a": lambda: session.report_resources("client", ["mr-a"]),
        "disable_client": lambda: session.disable_client("nobody"),
        "shell: ls server": lambda: session.ls_target("server"),
        "shell: ls ct-a": lambda: session.ls_target("ct-a"),
    }
    return actions[operation]()


def _aborted(session: Session, job_id: str) -> str:
    session.abort_job(job_id)
    return job_id


def test_every_role_may_do_what_its_policy_says_and_nothing_else(federation: LocalFederation, job: Job) -> None:
    with connect(federation.admin(Role.PROJECT_ADMIN)) as session:
        job_id = _aborted(session, submit(session, job))
    observed: dict[str, set[Role]] = {operation: set() for operation in MAY}
    for role in Role:
        with connect(federation.admin(role)) as session:
            for operation in MAY:
                try:
                    answer = str(attempt(session, operation, job_id, job))
                except (AuthorizationError, ConsoleError) as error:
                    answer = str(error)
                if "not authorized" not in answer:
                    observed[operation].add(role)
    assert observed == MAY


JOB_IN_HAND = "JobInHandError"


def refusal_to_delete(session: Session, job_id: str) -> str:
    """Try to delete a job; return why it was refused, or nothing."""
    try:
        session.delete_job(job_id)
    except InternalError as error:
        return str(error)
    return ""


def test_a_job_deleted_while_it_is_deployed_does_not_stop_the_server(federation: LocalFederation, job: Job) -> None:
    """On stock FLARE 2.9 this server would never start a job again: the test after this one would wait for ever."""
    with connect(federation.admin(Role.PROJECT_ADMIN)) as session:
        job_id = submit(session, job)
        federation.wait_for_log(SERVER, f"Got the job: {job_id} from the scheduler")
        session.abort_job(job_id)
        assert JOB_IN_HAND in refusal_to_delete(session, job_id)
        federation.wait_for_log(SERVER, f"job {job_id} was ended while it was being started")
        assert session.get_job_meta(job_id)["status"] == "FINISHED:ABORTED"
        while JOB_IN_HAND in refusal_to_delete(session, job_id):
            time.sleep(0.2)
        with pytest.raises(JobNotFound):
            session.get_job_meta(job_id)


def test_a_site_with_another_package_refuses_and_the_lead_reads_which_and_why(
    federation: LocalFederation, job: Job, tmp_path: Path
) -> None:
    """The site has another package than the kit expects; the manifest is unsigned here only to make that so."""
    manifest = federation.kit("mr-a") / "startup" / "fedgin.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"version": "', '"version": "9.'))
    try:
        command = ["run", str(job.folder), "--kit", str(federation.admin(Role.LEAD)), "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(app, command)
    finally:
        manifest.write_text(text)
    assert isinstance(done.exception, ConsoleError)
    [line] = [line for line in str(done.exception).split("  ") if "the kit expects fedgin 9." in line] or [
        str(done.exception)
    ]
    assert "mr-a" in line
    assert "the kit expects fedgin 9." in line


def test_a_refused_job_cannot_be_fetched_and_says_why(federation: LocalFederation, job: Job, tmp_path: Path) -> None:
    overwrite_a_file(job.folder, tmp_path / "owned", "")
    kit, out = federation.admin(Role.LEAD), tmp_path / "out"
    with connect(kit) as session:
        job_id = submit_as_it_is(session, job.folder)
    error = CliRunner().invoke(app, ["fetch", job_id, "--kit", str(kit), "--out", str(out)]).exception
    assert isinstance(error, ConsoleError)
    assert error.problem.startswith(f"the server refused job {job_id}: ")
    assert ATTACKS[overwrite_a_file] in error.problem
    assert not out.exists()


def compiled(process: psutil.Process) -> set[str]:
    """Return the packages whose compiled parts a process has loaded."""
    _, _, paths = zip(*(found.path.partition("site-packages/") for found in process.memory_maps()), strict=True)
    return {path.partition("/")[0] for path in paths}


def test_a_job_goes_on_without_a_site_that_fails_if_the_others_are_enough(
    federation: LocalFederation, tmp_path: Path
) -> None:
    """FLARE notices within a minute that nobody else is waited for."""
    job = replace(stage_tiny("abdomen_fedgin", tmp_path / "tiny"), min_clients=2, sites=tuple(SITES))
    killed = list[str]()
    libraries = dict[str, set[str]]()

    def kill(said: str) -> None:
        # The sites have said which organs they label: the first round has begun.
        if said.startswith("site ct-b, ") and not killed:
            running = {"server": server_job_process(federation), "site": job_process(federation, "ct-b")}
            libraries.update({name: compiled(process) for name, process in running.items()})
            running["site"].kill()
            killed.append("ct-b")

    with connect(federation.admin(Role.LEAD)) as session:
        job_id = submit(session, job)
        follow(session, job_id, on_status=kill, on_round=lambda metrics: None)
        outcome = read_outcome(fetch(session, job_id, tmp_path / "out"))
    assert killed
    assert {name: found & {"grpc", "aiohttp"} for name, found in libraries.items()} == {
        "server": {"grpc"},
        "site": {"grpc"},
    }
    assert outcome.fault == ""
    assert outcome.result.participation[-1].contributed.keys() == {"ct-a", "mr-a"}
    assert outcome.result.measurers == {"ct-a", "mr-a"}
    failed = [event for event in read_log(federation.kit(SERVER)).events if event.kind is Kind.SITE_FAILED]
    assert [(event.participant, event.job_id) for event in failed] == [("ct-b", job_id)]
