import getpass
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedgin.cli.site import site_app
from fedgin.data.site import load_site
from fedgin.data.validation import Severity
from fedgin.data.validation.record import default_folder
from fedgin.deploy.doctor.dataset import check_dataset
from tests.data.validation.small_site import BORN, NAME, RECORD, SmallSite
from tests.data.validation.test_validation_faults import few_cases, missing
from tests.deploy.doctor.kits import SITE, issue, serve, write_kit
from tests.places import ROOT

LOCK = ROOT / "requirements.txt"


def run(site_yaml: Path, *options: str) -> Result:
    return CliRunner().invoke(site_app, ["doctor", str(site_yaml), "--lock", str(LOCK), *options])


def severity_of_data(site: SmallSite) -> Severity:
    contract = load_site(site.save())
    return check_dataset(contract, default_folder(contract))[0].severity


def validate(site: SmallSite) -> None:
    CliRunner().invoke(site_app, ["validate", str(site.save())])


def test_the_data_must_be_validated_and_unchanged(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    assert severity_of_data(site) is Severity.FAIL
    validate(site)
    assert severity_of_data(SmallSite(tmp_path)) is Severity.WARN  # the same files, written anew
    validate(site)
    contract = load_site(tmp_path / "site.yaml")
    assert check_dataset(contract, default_folder(contract))[0].severity is Severity.PASS


@pytest.mark.parametrize(("break_it", "severity"), [(few_cases, Severity.WARN), (missing, Severity.FAIL)])
def test_the_verdict_of_validation_is_passed_on(tmp_path: Path, break_it: object, severity: Severity) -> None:
    site = SmallSite(tmp_path)
    assert callable(break_it)
    break_it(site)
    validate(site)
    contract = load_site(tmp_path / "site.yaml")
    assert check_dataset(contract, default_folder(contract))[0].severity is severity


def test_a_ready_site_with_its_server_has_no_fault(tmp_path: Path) -> None:
    validate(SmallSite(tmp_path / "data"))
    root = issue("project")
    with serve(tmp_path / "server", root, issue("server", root, host="localhost")) as port:
        kit = write_kit(tmp_path / "kit", root, issue(SITE, root), f"localhost:{port}")
        result = run(tmp_path / "data" / "site.yaml", "--kit", str(kit), "--format", "json")
    printed = json.loads(result.stdout)
    faults = {item["code"] for item in printed["findings"] if item["severity"] != "PASS"}
    # These depend on the machine that runs the test; a kit made here is not signed.
    assert faults <= {"disk", "memory", "shared_memory", "clock", "kit_signature"}
    assert {"kit_signature", "kit_path", "kit_running"} <= {item["code"] for item in printed["findings"]}
    assert result.exit_code == Severity(printed["verdict"]).exit_code
    assert {"kit", "certificate_chain", "server_tls"} <= {item["code"] for item in printed["findings"]}


def test_the_result_may_be_e_mailed(tmp_path: Path) -> None:
    """Every check is made to fail; no folder, user or planted identifier is in what is printed."""
    site = SmallSite(tmp_path / "data")
    missing(site)
    validate(site)
    kit = write_kit(tmp_path / "kit", issue("project"), issue("hospital-b", issue("else"), days=3), "server.invalid:1")
    (kit / "startup" / "client.key").chmod(0o644)
    for form in ("json", "text"):
        result = run(tmp_path / "data" / "site.yaml", "--kit", str(kit), "--format", form)
        assert result.exit_code == 2
        assert not re.search("|".join((NAME, RECORD, BORN)), result.output, re.IGNORECASE)
        assert str(tmp_path) not in result.output
        assert str(Path.home()) not in result.output
        assert not re.search(rf"\b{re.escape(getpass.getuser())}\b/", result.output)


def test_text_shows_each_fix(tmp_path: Path) -> None:
    text = " ".join(run(SmallSite(tmp_path).save(), "--kit", str(tmp_path / "none")).stdout.split())
    assert "the dataset has not been validated Fix: run: fedgin site validate" in text
    assert "the kit lacks fed_client.json, client.crt, client.key, rootCA.pem" in text
    assert "hospital-a: FAIL" in text
