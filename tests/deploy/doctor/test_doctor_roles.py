"""The doctor on the kits of the server and of consoles."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.validation import Severity
from fedgin.deploy.doctor.kit import SERVER, read_kit
from fedgin.deploy.doctor.port import check_port
from fedgin.deploy.doctor.storage import check_storage
from fedgin.errors import ConfigError
from tests.deploy.doctor.kits import SITE, Identity, issue, serve, write_console_kit, write_kit, write_server_kit
from tests.places import ROOT as REPOSITORY

PASS, WARN, FAIL = Severity.PASS, Severity.WARN, Severity.FAIL
LEAD = "lead@example.org"
ROOT = issue("project")
OWN = issue("localhost", ROOT, host="localhost")
# These depend on the machine that runs the test; kits made here are not signed.
LEFT_OUT = {"disk", "clock", "kit_signature"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def examine(kit: Path) -> dict[str, Severity]:
    arguments = ["doctor", str(kit), "--lock", str(REPOSITORY / "requirements.txt"), "--format", "json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    printed = json.loads(result.stdout)
    assert result.exit_code == Severity(printed["verdict"]).exit_code
    assert str(kit) not in result.stdout
    return {finding["code"]: Severity(finding["severity"]) for finding in printed["findings"]}


def faults(kit: Path) -> dict[str, Severity]:
    return {code: said for code, said in examine(kit).items() if said is not PASS and code not in LEFT_OUT}


def port_of(kit: Path) -> tuple[Severity, str]:
    read, _ = read_kit(kit, SERVER)
    assert read is not None
    (finding,) = check_port(read)
    return finding.severity, finding.message


def test_a_server_that_does_not_run_yet_is_ready(tmp_path: Path) -> None:
    kit = write_server_kit(tmp_path / "kit", ROOT, OWN, free_port())
    assert faults(kit) == {}
    assert {"server_port", "writable", "certificate_key", "kit_package"} <= examine(kit / "startup").keys()


@pytest.mark.parametrize(
    ("holder", "severity", "message"),
    [
        (OWN, PASS, "the running server of this kit"),
        (issue("localhost", ROOT, host="localhost"), WARN, "another certificate of this federation"),
        (issue("localhost", issue("another project"), host="localhost"), FAIL, "something else"),
    ],
    ids=["own", "renewed", "foreign"],
)
def test_who_holds_the_port_is_asked_for_its_certificate(
    tmp_path: Path, holder: Identity, severity: Severity, message: str
) -> None:
    with serve(tmp_path / "server", ROOT, holder) as port:
        found = port_of(write_server_kit(tmp_path / "kit", ROOT, OWN, port))
    assert found[0] is severity
    assert message in found[1]


def test_a_program_without_tls_on_the_port_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgin.deploy.doctor.port.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = port_of(write_server_kit(tmp_path / "kit", ROOT, OWN, silent.getsockname()[1]))
    assert found[0] is FAIL


def test_two_processes_on_one_port_fail_with_both_names(tmp_path: Path) -> None:
    share = "import socket as s; a = s.socket(); a.setsockopt(s.SOL_SOCKET, s.SO_REUSEPORT, 1); "
    listen = "a.bind(('127.0.0.1', PORT)); a.listen(); print(a.getsockname()[1], flush=True); input()"
    port, pids = "0", []
    with contextlib.ExitStack() as running:
        for _ in range(2):
            command = [sys.executable, "-c", share + listen.replace("PORT", port)]
            pipe = subprocess.PIPE
            process = running.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            pids.append(process.pid)
        severity, message = port_of(write_server_kit(tmp_path / "kit", ROOT, OWN, int(port)))
    assert severity is FAIL
    assert all(f"process {pid} (" in message for pid in pids)
    assert "dealt out at random" in message


def test_a_port_that_this_user_may_not_open_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: object) -> None:
        raise PermissionError

    kit = write_server_kit(tmp_path / "kit", ROOT, OWN, free_port())
    monkeypatch.setattr(socket, "create_server", refuse)  # root may open every port
    severity, message = port_of(kit)
    assert severity is FAIL
    assert "may not open port" in message


def test_a_storage_that_cannot_be_written_is_named_by_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = write_server_kit(tmp_path / "kit", ROOT, OWN, 8002)
    (kit / "storage").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != kit / "storage")  # root may write everywhere
    finding = check_storage(kit)[-1]
    assert (finding.severity, finding.message) == (FAIL, "this user cannot write jobs, snapshots")
    assert "server.storage" in finding.fix


def test_the_settings_that_flare_reads_first_say_where_jobs_are_stored(tmp_path: Path) -> None:
    kit = write_server_kit(tmp_path / "kit", ROOT, OWN, 8002)
    (kit / "local" / "resources.json").write_text('{"components": []}')
    (finding,) = check_storage(kit)
    assert (finding.severity, finding.code) == (FAIL, "storage")
    assert "local/resources.json does" in finding.message


def test_a_console_reaches_its_server(tmp_path: Path) -> None:
    with serve(tmp_path / "server", ROOT, OWN) as port:
        kit = write_console_kit(tmp_path / "kit", ROOT, issue(LEAD, ROOT), LEAD, port)
        found = examine(kit)
    assert {code for code, said in found.items() if said is not PASS} <= LEFT_OUT
    assert {"server_tls", "certificate_name", "writable"} <= found.keys()
    assert "kit_package" not in found  # a console runs no job


def test_a_console_without_a_server_and_of_somebody_else_says_so(tmp_path: Path) -> None:
    kit = write_console_kit(tmp_path / "kit", ROOT, issue("member@example.org", ROOT), LEAD, free_port())
    assert faults(kit) == {"certificate_name": FAIL, "server_tcp": FAIL}


@pytest.mark.parametrize("name", SERVER.files[1:])
def test_a_server_kit_that_is_not_whole_names_what_it_lacks(tmp_path: Path, name: str) -> None:
    kit = write_server_kit(tmp_path / "kit", ROOT, OWN, free_port())
    (kit / "startup" / name).unlink()
    found, findings = read_kit(kit, SERVER)
    assert found is None
    assert name in findings[0].message
    assert "server's" in findings[0].fix


def test_the_kit_of_a_site_has_a_doctor_of_its_own(tmp_path: Path) -> None:
    kit = write_kit(tmp_path / "kit", ROOT, issue(SITE, ROOT))
    with pytest.raises(ConfigError) as error:
        examine(kit)
    assert "fedgin site doctor" in error.value.fix


def test_a_folder_that_is_no_kit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no startup kit"):
        examine(tmp_path)
