"""Real runs of FLARE's provisioning."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedgin import folders
from fedgin.deploy.start import hold
from fedgin.errors import ConfigError
from fedgin.files import PART
from fedgin.flare.jobs.allow_list import ALLOWED_CLASSES
from fedgin.flare.provisioning.authority import ProvisioningError
from fedgin.flare.provisioning.kits import issue_kits
from fedgin.flare.provisioning.project import make_project
from fedgin.folders import FolderError, alone
from fedgin.manifest import read_file_names
from fedgin.processes import MALLOC_ARENAS
from tests.flare.provisioning.kits import POLICIES, PROJECT, PROVISIONING, by_status, content, plan, unpacked


def sites() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PROVISIONING / "sites.yaml").read_text())["sites"]
    return found


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kits")
    assert {row.status for row in issue_kits(plan(), POLICIES, out)} == {"new"}
    return out


@pytest.fixture
def out(issued: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(issued, tmp_path / "kits")
    return tmp_path / "kits"


def certificate(kit: Path, base: str = "client") -> x509.Certificate:
    return x509.load_pem_x509_certificate((kit / "startup" / f"{base}.crt").read_bytes())


def test_a_second_run_changes_nothing(out: Path) -> None:
    before, state = content(out), (out / PROJECT / "authority" / PROJECT / "state" / "cert.json").read_bytes()
    assert set(by_status(issue_kits(plan(), POLICIES, out)).values()) == {"unchanged"}
    assert content(out) == before
    assert (out / PROJECT / "authority" / PROJECT / "state" / "cert.json").read_bytes() == state


def test_a_new_site_and_person_leave_the_others_alone(out: Path) -> None:
    before = content(out)
    more = [*sites(), {"name": "hospital-d", "organisation": "d", "modality": "MR", "contact": "it@d.example.org"}]
    rows = by_status(issue_kits(plan(sites=more), POLICIES, out))
    assert rows.pop("hospital-d") == "new"
    assert set(rows.values()) == {"unchanged"}
    assert {name: content(out)[name] for name in before} == before
    # FLARE's own --add_client forgets such a site in the next run.
    assert by_status(issue_kits(plan(sites=more), POLICIES, out))["hospital-d"] == "unchanged"


def test_only_the_renewed_site_gets_a_new_certificate_and_key(out: Path, tmp_path: Path) -> None:
    old = certificate(unpacked(out, "hospital-a", tmp_path / "old"))
    before = content(out)
    rows = by_status(issue_kits(plan(), POLICIES, out, renew=["hospital-a"]))
    assert rows.pop("hospital-a") == "renewed"
    assert set(rows.values()) == {"unchanged"}
    new = certificate(unpacked(out, "hospital-a", tmp_path / "new"))
    assert new.public_key() != old.public_key()
    assert new.issuer == old.issuer
    assert {name for name, data in content(out).items() if data != before[name]} == {"hospital-a.tar.gz"}


def test_the_servers_certificate_holds_every_name_and_address_and_is_renewed_when_they_change(
    out: Path, tmp_path: Path
) -> None:
    before = content(out)
    server = plan().server.model_dump(mode="json") | {"host_names": ["fedgin.internal", "10.0.0.7"]}
    routed = [item | ({"connect_to": "10.0.0.7"} if item["name"] == "hospital-b" else {}) for item in sites()]
    rows = by_status(issue_kits(plan(server=server, sites=routed), POLICIES, out))
    assert {name: status for name, status in rows.items() if status != "unchanged"} == {
        "fedgin.example.org": "renewed",
        "hospital-b": "changed",
    }
    made = certificate(unpacked(out, "fedgin.example.org", tmp_path), "server")
    hosts = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert hosts.get_values_for_type(x509.DNSName) == ["fedgin.example.org", "fedgin.internal"]
    assert hosts.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.7")]
    settings = json.loads((unpacked(out, "hospital-b", tmp_path) / "startup" / "fed_client.json").read_text())
    assert settings["servers"][0]["service"]["target"] == "10.0.0.7:8002"
    assert settings["servers"][0]["identity"] == "fedgin.example.org"
    assert content(out)["hospital-a.tar.gz"] == before["hospital-a.tar.gz"]


def test_certificates_near_their_end_are_renewed(tmp_path: Path) -> None:
    issue_kits(plan(validity_days=30), POLICIES, tmp_path)
    # 30 days are left, and 30 days before the end a certificate is renewed.
    assert set(by_status(issue_kits(plan(), POLICIES, tmp_path)).values()) == {"renewed"}


def test_validity_is_the_projects(issued: Path, tmp_path: Path) -> None:
    issue_kits(plan(validity_days=700), POLICIES, tmp_path / "long")
    made = certificate(unpacked(tmp_path / "long", "hospital-a", tmp_path))
    assert abs(made.not_valid_after_utc - datetime.now(UTC) - timedelta(days=700)) < timedelta(hours=1)


def test_a_withdrawn_site_gets_no_kit_and_a_new_server_kit_refuses_it(out: Path, tmp_path: Path) -> None:
    before = content(out)
    old = certificate(unpacked(out, "fedgin.example.org", tmp_path / "old"), "server")
    left = [item | {"withdrawn": item["name"] == "hospital-b"} for item in sites()]
    rows = by_status(issue_kits(plan(sites=left), POLICIES, out))
    assert rows.pop("hospital-b") == "withdrawn"
    assert rows.pop("fedgin.example.org") == "changed"
    assert set(rows.values()) == {"unchanged"}
    assert set(before) - set(content(out)) == {"hospital-b.tar.gz"}
    kit = unpacked(out, "fedgin.example.org", tmp_path)
    assert certificate(kit, "server") == old
    assert set(by_status(issue_kits(plan(sites=left), POLICIES, out)).values()) == {"unchanged", "withdrawn"}
    assert json.loads((kit / "disabled_clients.json").read_text()) == {"disabled_clients": ["hospital-b"]}


def test_who_vanished_from_the_file_is_asked_for(out: Path) -> None:
    with pytest.raises(ConfigError, match=r"hospital-c.*has a kit but is not in sites.yaml"):
        issue_kits(plan(sites=sites()[:2]), POLICIES, out)


def test_a_changed_role_is_refused(out: Path) -> None:
    people = [person.model_dump(mode="json") for person in plan().people]
    people[1]["role"] = "member"
    with pytest.raises(ConfigError, match="withdraw this name"):
        issue_kits(plan(people=people), POLICIES, out)


def test_a_lost_archive_is_made_again_with_the_same_certificate(out: Path, tmp_path: Path) -> None:
    old = certificate(unpacked(out, "hospital-a", tmp_path / "old"))
    (out / PROJECT / "hospital-a.tar.gz").unlink()
    assert by_status(issue_kits(plan(), POLICIES, out))["hospital-a"] == "changed"
    assert certificate(unpacked(out, "hospital-a", tmp_path / "new")) == old


def test_a_failed_run_of_flare_leaves_every_kit(out: Path, tmp_path: Path) -> None:
    before = content(out)
    broken = tmp_path / "policies"
    shutil.copytree(POLICIES, broken)
    (broken / "site" / "resources.json").write_text("{")
    with pytest.raises(ProvisioningError):
        issue_kits(plan(), broken, out)
    assert content(out) == before
    assert not list((out / PROJECT / "authority").rglob("prod_*"))


def test_a_failed_renewal_keeps_the_certificate(out: Path, tmp_path: Path) -> None:
    state = out / PROJECT / "authority" / PROJECT / "state" / "cert.json"
    before = json.loads(state.read_text())
    broken = tmp_path / "policies"
    shutil.copytree(POLICIES, broken)
    (broken / "site" / "resources.json").write_text("{")
    with pytest.raises(ProvisioningError):
        issue_kits(plan(), broken, out, renew=["hospital-a"])
    assert json.loads(state.read_text()) == before
    assert state.stat().st_mode & 0o077 == 0
    assert set(by_status(issue_kits(plan(), POLICIES, out)).values()) == {"unchanged"}


@pytest.mark.parametrize("killed", ["before FLARE made the certificate", "after it"])
def test_a_renewal_that_was_killed_is_made_by_the_next_run(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    state = out / PROJECT / "authority" / PROJECT / "state" / "cert.json"
    if killed.startswith("before"):
        state.write_text(json.dumps({k: v for k, v in json.loads(state.read_text()).items() if k != "hospital-a"}))
    else:
        with monkeypatch.context() as patch:
            patch.setattr("fedgin.flare.provisioning.kits._pack", _kill)
            with pytest.raises(KeyboardInterrupt):
                issue_kits(plan(), POLICIES, out, renew=["hospital-a"])
    rows = by_status(issue_kits(plan(), POLICIES, out))
    assert rows.pop("hospital-a") == "renewed"
    assert set(rows.values()) == {"unchanged"}
    made = certificate(unpacked(out, "hospital-a", tmp_path))
    held = json.loads(state.read_text())["hospital-a"]["cert"]
    assert made == x509.load_pem_x509_certificate(held.encode())
    assert set(by_status(issue_kits(plan(), POLICIES, out)).values()) == {"unchanged"}


def _kill(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_authority_that_was_lost_is_asked_for(out: Path) -> None:
    (out / PROJECT / "authority" / PROJECT / "state" / "cert.json").unlink()
    with pytest.raises(ConfigError, match=r"cert\.json: missing\. Fix: restore it from the backup"):
        issue_kits(plan(), POLICIES, out)


def test_nobody_else_can_read_keys(issued: Path) -> None:
    authority = issued / PROJECT / "authority"
    assert (authority / PROJECT / "state" / "cert.json").is_file()
    for path in [authority, *authority.rglob("*"), *(issued / PROJECT).glob("*.tar.gz")]:
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert not list(authority.rglob("prod_*"))


def test_nobody_else_can_read_a_kit_that_is_being_packed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    add = tarfile.TarFile.add

    def look_and_add(tar: tarfile.TarFile, *arguments: Any, **options: Any) -> None:
        seen.extend(path.stat().st_mode & 0o777 for path in (out / PROJECT).glob(f"{PART}*"))
        add(tar, *arguments, **options)

    monkeypatch.setattr(tarfile.TarFile, "add", look_and_add)
    before = os.umask(0o022)
    try:
        issue_kits(plan(), POLICIES, out, renew=["hospital-a"])
    finally:
        os.umask(before)
    assert set(seen) == {0o600}
    assert (out / PROJECT / "hospital-a.tar.gz").stat().st_mode & 0o777 == 0o600


def test_a_kits_key_is_private_and_belongs_to_its_certificate(issued: Path, tmp_path: Path) -> None:
    kit = unpacked(issued, "hospital-a", tmp_path)
    key = kit / "startup" / "client.key"
    assert key.stat().st_mode & 0o777 == 0o600
    private = load_pem_private_key(key.read_bytes(), password=None)
    assert private.public_key() == certificate(kit).public_key()


@pytest.mark.parametrize("name", ["fedgin.example.org", "hospital-a", "hospital-c"])
def test_policies_are_in_the_kit(issued: Path, tmp_path: Path, name: str) -> None:
    local = unpacked(issued, name, tmp_path) / "local"
    resources = json.loads((local / "resources.json.default").read_text())
    assert resources["class_allow_list"] == list(ALLOWED_CLASSES)
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["app_validator"]["path"] == "fedgin.flare.jobs.job_validator.JobValidator"
    assert "fedgin.flare.audit.security_events.SecurityEvents" in {item["path"] for item in resources["components"]}
    assert "/tmp/nvflare" not in json.dumps(resources)
    permissions = json.loads((local / "authorization.json.default").read_text())["permissions"]
    assert {role: rights["byoc"] for role, rights in permissions.items()} == dict.fromkeys(permissions, "none")
    assert {rights["shell_commands"] for rights in permissions.values()} == {"none"}


def test_a_site_uploads_no_log_and_has_a_privacy_scope(issued: Path, tmp_path: Path) -> None:
    local = unpacked(issued, "hospital-a", tmp_path) / "local"
    resources = json.loads((local / "resources.json.default").read_text())
    assert resources["allow_log_streaming"] is False
    privacy = json.loads((local / "privacy.json").read_text())
    assert privacy["default_scope"] in {scope["name"] for scope in privacy["scopes"]}


@pytest.mark.parametrize("name", ["fedgin.example.org", "hospital-a"])
def test_no_kit_sends_or_takes_logs(issued: Path, tmp_path: Path, name: str) -> None:
    """FLARE's receiver writes, moves and deletes files by paths of the sender's choice, whoever it is."""
    resources = json.loads((unpacked(issued, name, tmp_path) / "local" / "resources.json.default").read_text())
    parts = [item["path"] for item in resources["components"]]
    assert parts
    assert [path for path in parts if path.startswith("nvflare.app_common.logging.")] == []


READ_BY_FLARE = """
import sys
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.utils.config_service import ConfigService

ConfigService.initialize(section_files={}, config_path=[sys.argv[1]])
read = CommConfigurator()
print(read.get_streaming_window_size(0), read.get_streaming_ack_interval(0))
print(read.get_streaming_retry_wait(0), read.get_streaming_retry_timeout(0))
"""


@pytest.mark.parametrize("name", ["hospital-a", "fedgin.example.org"])
def test_flare_sends_no_more_ahead_than_a_slow_line_carries_in_time(issued: Path, tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", READ_BY_FLARE, str(unpacked(issued, name, tmp_path))]
    told = subprocess.run(command, capture_output=True, check=True).stdout.split()
    window, acknowledged, repeated_after, given_up_after = map(float, told)
    assert 0 < 2 * acknowledged <= window
    # Seconds at 1 Mbit/s.
    assert window * 8 / 1e6 < repeated_after < given_up_after / 10


def test_the_server_stores_in_the_projects_folder(issued: Path, tmp_path: Path) -> None:
    resources = (unpacked(issued, "fedgin.example.org", tmp_path) / "local" / "resources.json.default").read_text()
    assert "/var/lib/fedgin/abdomen-organs/jobs" in resources
    assert "/var/lib/fedgin/abdomen-organs/snapshots" in resources


def test_the_server_waits_for_a_site_that_loads_its_libraries_first(issued: Path, tmp_path: Path) -> None:
    config = unpacked(issued, "fedgin.example.org", tmp_path) / "startup" / "fed_server.json"
    assert [server["admin_timeout"] for server in json.loads(config.read_text())["servers"]] == [180.0]


@pytest.mark.parametrize("name", ["fedgin.example.org", "hospital-a"])
def test_a_kit_limits_glibcs_arenas_as_the_simulator_does(issued: Path, tmp_path: Path, name: str) -> None:
    """FLARE's template does it, not we: without it the memory of a server grows from round to round."""
    script = (unpacked(issued, name, tmp_path) / "startup" / "sub_start.sh").read_text()
    assert f"export MALLOC_ARENA_MAX=${{MALLOC_ARENA_MAX:-{MALLOC_ARENAS}}}" in script


@pytest.mark.parametrize("name", ["fedgin.example.org", "hospital-a"])
def test_a_kit_that_finds_another_python_says_so_and_not_that_it_was_changed(
    issued: Path, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "bin" / "python3"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    script = unpacked(issued, name, tmp_path) / "startup" / "sub_start.sh"
    environment = {"PATH": f"{other.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", script, "--once"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        f"{other} has no nvflare or no fedgin: put the folder of the installation's python3 first into PATH"
        in done.stdout
    )
    assert "was changed" not in done.stdout


def run_script(kit: Path, *script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(kit / "startup" / script[0]), *script[1:]]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        command, env=environment, cwd=kit.parent, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("script", [["sub_start.sh", "--once"], ["start.sh"]], ids=["once", "loop"])
def test_a_kit_that_runs_already_is_not_started_again(issued: Path, tmp_path: Path, script: list[str]) -> None:
    kit = unpacked(issued, "hospital-a", tmp_path)
    with hold(kit):
        done = run_script(kit, *script)
    assert f"the kit in {kit} runs already: process {os.getpid()} on " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (kit / "log.txt").exists()


def test_a_kit_in_a_path_with_a_space_says_so_at_its_start(issued: Path, tmp_path: Path) -> None:
    done = run_script(unpacked(issued, "hospital-a", tmp_path / "two words"), "start.sh")
    assert "it holds a space, a quote, a backslash or '#'. Fix: move it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", [["sub_start.sh", "--once"], ["start.sh"]], ids=["once", "loop"])
def test_a_workspace_that_is_named_from_where_one_stands_is_refused(
    issued: Path, tmp_path: Path, script: list[str]
) -> None:
    """FLARE's script would make links that lead nowhere."""
    kit = unpacked(issued, "hospital-a", tmp_path)
    done = run_script(kit, *script, NVFL_WORKSPACE="work/space")
    assert done.stderr == (
        "fedgin: NVFL_WORKSPACE is the relative path 'work/space'. Fix: give the whole path, from / on [FG-062]\n"
    )
    assert done.stdout == ""
    assert not (tmp_path / "work").exists()


def test_a_workspace_beside_the_kit_holds_what_flare_writes(issued: Path, tmp_path: Path) -> None:
    kit, workspace = unpacked(issued, "hospital-a", tmp_path / "sent"), tmp_path / "workspace"
    workspace.mkdir()
    with hold(workspace):
        done = run_script(kit, "sub_start.sh", "--once", NVFL_WORKSPACE=str(workspace))
    assert f"the kit in {workspace} runs already" in done.stderr
    assert (workspace / "startup" / "signature.json").is_file()


def test_kits_in_a_folder_that_may_not_be_written_are_one_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **how: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    before = content(out)
    monkeypatch.setattr(folders, "locked", refuse)
    with pytest.raises(FolderError, match="cannot be opened: Permission denied"):
        issue_kits(plan(), POLICIES, out)
    assert content(out) == before


def test_two_do_not_issue_kits_at_once(out: Path) -> None:
    """One would discard what the other packs, and write back the certificates that it found."""
    before = content(out)
    with alone(out / PROJECT), pytest.raises(FolderError, match="another fedgin works in"):
        issue_kits(plan(), POLICIES, out, renew=["hospital-a"])
    assert content(out) == before
    assert by_status(issue_kits(plan(), POLICIES, out))["hospital-a"] == "unchanged"


def test_every_kit_is_signed(issued: Path, tmp_path: Path) -> None:
    for archive in (issued / PROJECT).glob("*.tar.gz"):
        startup = unpacked(issued, archive.name.removesuffix(".tar.gz"), tmp_path) / "startup"
        signed = json.loads((startup / "signature.json").read_text())
        assert set(signed) == {path.name for path in startup.iterdir()} - {"signature.json"}
        if (startup / "fedgin.json").exists():
            assert read_file_names(startup) == set(signed)


def test_the_checksums_are_those_of_the_kits(issued: Path) -> None:
    import hashlib

    lines = (issued / PROJECT / "SHA256SUMS").read_text().splitlines()
    found = {line.split("  ")[1]: line.split("  ")[0] for line in lines}
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in content(issued).items()}


def test_the_project_file_names_everybody_who_takes_part() -> None:
    participants = make_project(plan(), POLICIES, Path())["participants"]
    assert isinstance(participants, list)
    assert len(participants) == 8
    assert {item["allow_log_streaming"] for item in participants if item["type"] == "client"} == {False}


def test_a_key_without_tenseal_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.flare.jobs.encryption_library.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs TenSEAL.*Fix: pip install -r requirements-encryption\.txt"):
        issue_kits(plan(encryption_key=1), POLICIES, tmp_path / "kits")
    assert not (tmp_path / "kits").exists()
