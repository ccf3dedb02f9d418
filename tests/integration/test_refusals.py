"""Who is not let in: real kits, real processes, TLS on loopback."""

import json
import shutil
import socket
import ssl
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.site import load_site
from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.provisioning.start_scripts import SIGNED, START
from fedgin.flare.run.console import ConsoleError, connect, submit, withdraw
from fedgin.flare.run.follow import follow
from poc.federation import PEOPLE, SERVER, LocalFederation, provision, running
from tests.integration.attacks import (
    ATTACKS,
    edit,
    name_a_pickle,
    overwrite_a_file,
    start_a_container,
    submit_as_it_is,
)
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

PATIENCE = 90.0

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """A running server and one site that is let in."""
    root = tmp_path_factory.mktemp("refusals")
    sites = {name: load_site(write_site(root / "data" / name, name)) for name in ("honest", "other")}
    with running(provision(sites, root / "federation"), ["honest"]) as made:
        yield made


def is_refused(federation: LocalFederation, name: str, line: str, *, by: str | None = None) -> None:
    """Start a participant and wait for the line by which it, or another, says that it is not let in."""
    said, before = by or name, len(federation.log(by)) if by else 0
    federation.start(name)
    end = time.monotonic() + PATIENCE
    while line not in federation.log(said)[before:]:
        assert time.monotonic() < end, federation.log(said)[before:]
        time.sleep(0.3)
    federation.stop(name)
    assert "registered client" not in federation.log(name)


def knock(federation: LocalFederation, startup: Path | None) -> tuple[bytes, str]:
    """Connect with a certificate, or without; return what the server answers, and what it prints until it hangs up.

    FLARE's own client would not do: it waits for ever, without a word, when its own certificate is expired or missing.
    """
    target = json.loads((federation.kit("other") / "startup" / "fed_client.json").read_text())["servers"][0]["service"]
    tls = ssl.create_default_context(cafile=str(federation.kit("other") / "startup" / "rootCA.pem"))
    tls.set_alpn_protocols(["h2"])
    if startup is not None:
        tls.load_cert_chain(startup / "client.crt", startup / "client.key")
    before, port = len(federation.log(SERVER)), int(target["target"].split(":")[1])
    with (
        socket.create_connection((SERVER, port), timeout=PATIENCE) as line,
        tls.wrap_socket(line, server_hostname=SERVER) as connection,
    ):
        answer = connection.recv(100)
    return answer, federation.log(SERVER)[before:]


def copy_kit(federation: LocalFederation, original: str, name: str) -> Path:
    kit = federation.kit(name)
    shutil.copytree(federation.kit(original), kit)
    return kit


def start_past_our_check(kit: Path) -> None:
    """Let the script of a kit start FLARE without the check of all signatures, as an attacker would."""
    script = kit / "startup" / "sub_start.sh"
    text = script.read_text()
    ours = f"{START} {SIGNED} nvflare"
    assert text.count(ours) == 1
    script.write_text(text.replace(ours, "nvflare"))


def unsign(kit: Path) -> None:
    """Do what an attacker would do: without a signature FLARE checks none."""
    (kit / "startup" / "signature.json").unlink()
    start_past_our_check(kit)


@pytest.mark.parametrize(
    "edited", ["fed_client.json", "client.crt", "rootCA.pem", "sub_start.sh", "fedgin.json", "stop_fl.sh"]
)
def test_a_kit_with_one_edited_file_does_not_start(federation: LocalFederation, edited: str) -> None:
    name = f"edited-{edited.split('.')[0].replace('_', '-')}"
    kit = copy_kit(federation, "other", name)
    with (kit / "startup" / edited).open("a") as file:
        file.write("\n")
    is_refused(federation, name, "startup/ was changed after it was signed")


def test_a_settings_file_edited_past_the_script_is_refused_by_flare_itself(federation: LocalFederation) -> None:
    kit = copy_kit(federation, "other", "edited-past-script")
    settings = kit / "startup" / "fed_client.json"
    settings.write_text(settings.read_text().replace("localhost", "127.0.0.1"))
    start_past_our_check(kit)
    is_refused(federation, "edited-past-script", "not secure content")


def test_the_server_answers_a_certificate_that_it_trusts(federation: LocalFederation) -> None:
    """The control of those below."""
    answer, printed = knock(federation, federation.kit("other") / "startup")
    assert answer
    assert "Handshake failed" not in printed


def test_a_certificate_of_another_root_is_refused(federation: LocalFederation, tmp_path: Path) -> None:
    site = load_site(write_site(tmp_path / "data", "other"))
    stranger = provision({"other": site}, tmp_path / "strangers")
    answer, printed = knock(federation, stranger.kit("other") / "startup")
    assert not answer
    assert "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate" in printed


def test_an_expired_certificate_is_refused(federation: LocalFederation) -> None:
    kit = copy_kit(federation, "other", "expired")
    expire(federation, kit / "startup" / "client.crt")
    answer, printed = knock(federation, kit / "startup")
    assert not answer
    assert "CERTIFICATE_VERIFY_FAILED: certificate has expired" in printed


def test_a_site_without_certificate_is_refused(federation: LocalFederation) -> None:
    answer, printed = knock(federation, None)
    assert not answer
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in printed


def expire(federation: LocalFederation, path: Path) -> None:
    """Write the same certificate, signed by the same root, with a validity that ended an hour ago."""
    [state] = federation.folder.parent.glob("kits/*/authority/*/state/cert.json")
    root_key = load_pem_private_key(json.loads(state.read_text())["root_pri_key"].encode(), password=None)
    assert isinstance(root_key, RSAPrivateKey)
    old = x509.load_pem_x509_certificate(path.read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=2))
        .not_valid_after(datetime.now(UTC) - timedelta(hours=1))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    path.write_bytes(builder.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM))


def test_a_site_under_another_name_is_refused(federation: LocalFederation) -> None:
    kit = copy_kit(federation, "other", "renamed")
    unsign(kit)
    script = kit / "startup" / "sub_start.sh"
    text = script.read_text()
    assert "uid=other" in text
    script.write_text(text.replace("uid=other", "uid=honest"))
    claim = "authenticated as 'other' but claimed endpoint 'honest'"
    is_refused(federation, "renamed", claim, by=SERVER)


def test_the_unchanged_kit_is_let_in_until_the_site_is_withdrawn(federation: LocalFederation) -> None:
    """The control: the refusals above are not a broken kit's."""
    federation.start("other")
    federation.wait_for_log("other", "registered client")
    federation.stop("other")
    with connect(federation.admin(Role.PROJECT_ADMIN)) as session:
        withdraw(session, "other")
    (federation.folder / "other.log").unlink()
    is_refused(federation, "other", "registration rejected: Client 'other' is disabled")


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[tuple[LocalFederation, Job]]:
    """A server without our checks, one site that is not up yet, and a job for it."""
    site = load_site(write_site(tmp_path / "data", "ct-a"))
    made = provision({"ct-a": site}, tmp_path / "federation")
    local = made.kit(SERVER) / "local"
    values = json.loads((local / "resources.json.default").read_text())
    values["class_allow_list"] += ["subprocess.Popen"]
    del values["app_validator"]
    manager = next(item for item in values["components"] if item["id"] == "job_manager")
    manager["path"] = "nvflare.apis.impl.job_def_manager.SimpleJobDefManager"
    (local / "resources.json").write_text(json.dumps(values))
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "training"})
    job = stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "tiny", sites=1, rounds=1, changes=tiny)
    with running(made, []):
        yield made, job


def deploy(federation: LocalFederation, *job_ids: str) -> list[str]:
    """Let the site come up, so that the waiting jobs are deployed; return what was said of each."""
    federation.start("ct-a")
    said = []
    for job_id in job_ids:
        with connect(federation.admin(Role.LEAD)) as session:
            meta = follow(session, job_id, on_status=lambda text: None, on_round=lambda metrics: None)
        assert meta["status"] == "FINISHED:FAILED_TO_RUN"
        said.append("\n".join(meta["job_deploy_detail"]))
    return said


def test_a_site_refuses_what_a_careless_server_lets_through(
    careless: tuple[LocalFederation, Job], tmp_path: Path
) -> None:
    federation, job = careless
    owned, storage = tmp_path / "owned", str(federation.folder.parent / "storage" / "rehearsal" / "jobs")
    with connect(federation.admin(Role.MEMBER)) as session, pytest.raises(ConsoleError, match="not authorized"):
        submit(session, job)
    ids, payload = [], {"id": "x", "path": "subprocess.Popen", "args": {"args": ["touch", str(owned)]}}
    with connect(federation.admin(Role.LEAD)) as session:
        for attack in (name_a_pickle, overwrite_a_file, start_a_container):
            folder = Path(shutil.copytree(job.folder, tmp_path / attack.__name__ / "tiny"))
            attack(folder, owned, storage)
            ids.append(submit_as_it_is(session, folder))
        edit(job.folder, "config_fed_client.json", lambda values: values["components"].append(payload))
        ids.append(submit_as_it_is(session, job.folder))
    reasons = [*(ATTACKS[attack] for attack in (name_a_pickle, overwrite_a_file, start_a_container)), ADDED]
    for said, reason in zip(deploy(federation, *ids), reasons, strict=True):
        assert "ct-a" in said
        assert reason in said
    assert not owned.exists()
    check_security_logs(federation, ids, reasons)


ADDED = "config_fed_client.json: 'components.1' does not belong there"


def check_security_logs(federation: LocalFederation, ids: list[str], reasons: list[str]) -> None:
    """See that server and site have written down who submitted what, and why it was refused."""
    server, site = (read_log(federation.kit(name)) for name in (SERVER, "ct-a"))
    assert server.damage == site.damage == ()
    denied, *at_server = server.events
    assert (denied.kind, denied.command) == (Kind.COMMAND_REFUSED, "submit_job")
    assert (denied.person, denied.role) == (PEOPLE[Role.MEMBER], "member")
    for job_id, reason in zip(ids, reasons, strict=True):
        here, there = ([event for event in events if event.job_id == job_id] for events in (at_server, site.events))
        assert [event.kind for event in here] == [Kind.JOB_OFFERED, Kind.DEPLOYMENT_REFUSED]
        assert [event.kind for event in there] == [Kind.JOB_OFFERED, Kind.JOB_REFUSED]
        assert {(event.person, event.role) for event in (*here, *there)} == {(PEOPLE[Role.LEAD], "lead")}
        assert (here[1].participant, here[1].job) == ("ct-a", "abdomen_fedgin")
        assert reason in here[1].reason
        assert reason in there[1].reason
    shown = CliRunner().invoke(app, ["audit", str(federation.kit(SERVER))], env={"COLUMNS": "250"}).output
    assert "command REFUSED" in shown
    assert "deployment REFUSED" in shown
    assert "0 damaged" in shown


def test_a_job_altered_after_signing_is_refused(careless: tuple[LocalFederation, Job]) -> None:
    federation, job = careless
    with connect(federation.admin(Role.LEAD)) as session:
        job_id = submit(session, job)
    [data] = federation.folder.parent.glob(f"storage/rehearsal/jobs/{job_id}/data")
    with zipfile.ZipFile(data) as archive:
        files = {item: archive.read(item) for item in archive.namelist()}
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            changed = content.replace(b"seed:", b"seed :") if name.endswith("experiment.yaml") else content
            archive.writestr(name, changed)
    assert "does not pass signature verification" in deploy(federation, job_id)[0]
