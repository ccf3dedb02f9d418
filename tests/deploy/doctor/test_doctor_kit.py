import socket
from pathlib import Path

import pytest

from fedgin.data.validation import Finding, Severity
from fedgin.deploy.doctor import network
from fedgin.deploy.doctor.certificate import check_certificate
from fedgin.deploy.doctor.kit import KEY, find_kind, read_kit, startup_folder
from fedgin.deploy.doctor.kit import SITE as SITE_KIND
from fedgin.deploy.doctor.network import check_server
from fedgin.deploy.doctor.storage import check_storage
from fedgin.deploy.start import hold
from fedgin.flare.provisioning.signature_finding import examine_signature
from tests.deploy.doctor.kits import SITE, Identity, close_folder, issue, serve, write_kit, write_server_kit

ROOT = issue("project")
OTHER_ROOT = issue("another project")


def check(kit_folder: Path) -> dict[str, Severity]:
    kit, findings = read_kit(kit_folder)
    assert kit is not None
    return {finding.code: finding.severity for finding in findings + check_certificate(kit, SITE, "site.yaml")}


def worse_than_pass(found: dict[str, Severity]) -> dict[str, Severity]:
    return {code: severity for code, severity in found.items() if severity is not Severity.PASS}


def test_a_whole_kit_passes(tmp_path: Path) -> None:
    folder = write_kit(tmp_path / "kit", ROOT, issue(SITE, ROOT))
    assert worse_than_pass(check(folder)) == {}
    assert check(folder / "startup") == check(folder)


def test_a_key_for_encrypted_jobs_without_tenseal_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_kit(tmp_path / "kit", ROOT, issue(SITE, ROOT))
    (folder / "startup" / f"client{KEY}").write_bytes(b"the doctor only looks whether it is there")
    monkeypatch.setattr("fedgin.deploy.doctor.kit.find_spec", lambda name: None)
    assert worse_than_pass(check(folder)) == {"encryption": Severity.WARN}


@pytest.mark.parametrize("closed", ["kit", "kit/startup"])
def test_a_kit_that_this_user_may_not_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    folder = write_kit(tmp_path / "kit", ROOT, issue(SITE, ROOT))
    close_folder(monkeypatch, tmp_path / closed)
    kit, [finding] = read_kit(folder)
    assert (kit, finding.severity, finding.code) == (None, Severity.FAIL, "kit")
    assert (finding.message, finding.fix) == (
        "this user may not read the kit",
        "run the doctor as the user of the site",
    )
    assert find_kind(folder) is None
    [finding] = examine_signature(startup_folder(folder))
    assert (finding.severity, finding.code) == (Severity.FAIL, "kit_signature")


def test_the_storage_of_a_server_kit_that_this_user_may_not_read_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_server_kit(tmp_path / "kit", ROOT, issue("localhost", ROOT), 8002)
    close_folder(monkeypatch, folder)
    monkeypatch.setattr(Path, "read_text", _refuse)
    [finding] = check_storage(folder)
    assert (finding.severity, finding.code) == (Severity.FAIL, "storage")


def _refuse(*_: object, **__: object) -> str:
    raise PermissionError


def test_a_kit_in_a_path_with_a_space_fails(tmp_path: Path) -> None:
    folder = write_kit(tmp_path / "two words", ROOT, issue(SITE, ROOT))
    assert worse_than_pass(check(folder)) == {"kit_path": Severity.FAIL}


def test_a_kit_that_runs_here_passes_and_one_that_runs_elsewhere_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_kit(tmp_path / "kit", ROOT, issue(SITE, ROOT))
    with hold(folder):
        assert worse_than_pass(check(folder)) == {}
        monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
        assert worse_than_pass(check(folder)) == {"kit_running": Severity.WARN}
    assert worse_than_pass(check(folder)) == {}


@pytest.mark.parametrize("name", SITE_KIND.files)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_kit(tmp_path, ROOT, issue(SITE, ROOT))
    (folder / "startup" / name).unlink()
    kit, findings = read_kit(folder)
    assert kit is None
    assert name in findings[0].message


@pytest.mark.parametrize("name", SITE_KIND.files)
def test_a_damaged_file_is_a_finding(tmp_path: Path, name: str) -> None:
    folder = write_kit(tmp_path, ROOT, issue(SITE, ROOT))
    (folder / "startup" / name).write_text("damaged")
    kit, findings = read_kit(folder)
    assert kit is None
    assert findings[0].severity is Severity.FAIL


FAULTS = [
    (issue(SITE, OTHER_ROOT), {"certificate_chain": Severity.FAIL}),
    (issue(SITE, ROOT, start=-9, days=-2), {"certificate_expiry": Severity.FAIL}),
    (issue(SITE, ROOT, days=29), {"certificate_expiry": Severity.WARN}),
    (issue(SITE, ROOT, days=31), {}),
    (issue("hospital-b", ROOT), {"certificate_name": Severity.FAIL}),
    (Identity(issue(SITE, ROOT).key, issue(SITE, ROOT).certificate), {"certificate_key": Severity.FAIL}),
]


@pytest.mark.parametrize(("identity", "expected"), FAULTS, ids=["chain", "ended", "29d", "31d", "name", "key"])
def test_a_faulty_certificate_gives_exactly_its_finding(
    tmp_path: Path, identity: Identity, expected: dict[str, Severity]
) -> None:
    assert worse_than_pass(check(write_kit(tmp_path, ROOT, identity))) == expected


def test_an_ending_root_is_announced(tmp_path: Path) -> None:
    root = issue("project", days=10)
    assert worse_than_pass(check(write_kit(tmp_path, root, issue(SITE, root)))) == {"authority_expiry": Severity.WARN}


def test_a_key_that_others_can_read_fails(tmp_path: Path) -> None:
    folder = write_kit(tmp_path, ROOT, issue(SITE, ROOT))
    (folder / "startup" / "client.key").chmod(0o644)
    assert worse_than_pass(check(folder)) == {"key_permissions": Severity.FAIL}


@pytest.mark.parametrize("text", [None, "{}", '{"package": "fedgin", "version": "9.9.9", "sha256": "0"}'])
def test_a_kit_for_another_package_fails(tmp_path: Path, text: str | None) -> None:
    folder = write_kit(tmp_path, ROOT, issue(SITE, ROOT))
    manifest = folder / "startup" / "fedgin.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    assert worse_than_pass(check(folder)) == {"kit_package": Severity.FAIL}


def greet(folder: Path, root: Identity, site: Identity, target: str) -> list[Finding]:
    kit, _ = read_kit(write_kit(folder, root, site, target))
    assert kit is not None
    return check_server(kit)


def test_a_server_that_knows_the_site_answers(tmp_path: Path) -> None:
    with serve(tmp_path / "server", ROOT, issue("server", ROOT, host="localhost")) as port:
        found = greet(tmp_path / "kit", ROOT, issue(SITE, ROOT), f"localhost:{port}")
    assert [finding.severity for finding in found] == [Severity.PASS] * 3
    assert "TLSv1.3" in found[-1].message


@pytest.mark.parametrize(("behave", "severity"), [("hang up", Severity.FAIL), ("wait", Severity.PASS)])
def test_hanging_up_is_a_refusal_and_silence_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behave: str, severity: Severity
) -> None:
    monkeypatch.setattr(network, "SECONDS", 0.5)
    with serve(tmp_path / "server", ROOT, issue("server", ROOT, host="localhost"), behave=behave) as port:
        found = greet(tmp_path / "kit", ROOT, issue(SITE, ROOT), f"localhost:{port}")
    assert found[-1].severity is severity


def test_a_server_that_refuses_the_site_is_noticed_after_the_handshake(tmp_path: Path) -> None:
    with serve(tmp_path / "server", OTHER_ROOT, issue("server", ROOT, host="localhost")) as port:
        found = greet(tmp_path / "kit", ROOT, issue(SITE, ROOT), f"localhost:{port}")
    assert (found[-1].code, found[-1].severity) == ("server_tls", Severity.FAIL)
    assert "refused" in found[-1].message


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (issue("server", OTHER_ROOT, host="localhost"), "not accepted"),
        (issue("server", ROOT, host="elsewhere.test"), "not accepted: Hostname mismatch"),
        (issue("server", ROOT, start=-9, days=-2, host="localhost"), "not accepted: certificate has expired"),
    ],
    ids=["foreign", "host", "ended"],
)
def test_a_wrong_server_is_not_accepted(tmp_path: Path, server: Identity, reason: str) -> None:
    with serve(tmp_path / "server", ROOT, server) as port:
        found = greet(tmp_path / "kit", ROOT, issue(SITE, ROOT), f"localhost:{port}")
    assert found[-1].severity is Severity.FAIL
    assert reason in found[-1].message


def test_a_closed_port_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    closed = greet(tmp_path / "closed", ROOT, issue(SITE, ROOT), f"localhost:{port}")
    assert closed[-1].code == "server_tcp"
    unknown = greet(tmp_path / "unknown", ROOT, issue(SITE, ROOT), "server.invalid:8002")
    assert [finding.code for finding in unknown] == ["server_name"]
