"""FLARE's own commands for distributed provisioning, run on the definitions that we write."""

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from fedgin.config import parse_settings
from fedgin.errors import ConfigError
from fedgin.flare.jobs.allow_list import ALLOWED_CLASSES
from fedgin.flare.provisioning.distributed import write_definitions
from fedgin.flare.provisioning.federation import Federation
from fedgin.manifest import check_manifest
from tests.places import ROOT

PROVISIONING = ROOT / "provisioning"
SITE = "hospital-a"


def federation() -> Federation:
    values = yaml.safe_load((PROVISIONING / "sites.yaml").read_text())
    values["sites"][0]["name"] = SITE
    return parse_settings(values, Federation, source="sites.yaml")


def nvflare(*arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("nvflare"), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(name="home", scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder after the root was made and one hospital and the server have their kits."""
    out = tmp_path_factory.mktemp("distributed")
    plan = federation()
    write_definitions(plan, PROVISIONING / "policies", out)
    home = out / plan.project
    text = nvflare("cert", "init", "--profile", "profile.yaml", "-o", "ca", cwd=home)
    fingerprint = re.findall(r"SHA256:[0-9A-F:]+", text)[0]
    for name in (SITE, plan.server.host):
        folder = home / name
        nvflare("cert", "request", "-p", "participant.yaml", "--out", "request", cwd=folder)
        request = folder / "request" / f"{name}.request.zip"
        nvflare("cert", "approve", request, "--ca-dir", "ca", "--profile", "profile.yaml", cwd=home)
        signed = folder / "request" / f"{name}.signed.zip"
        nvflare("package", signed, "--request-dir", "request", "--fingerprint", fingerprint, cwd=folder)
    return home


def kit(home: Path, name: str) -> Path:
    return next((home / name / "workspace").glob(f"*/prod_00/{name}"))


def test_a_kit_made_at_the_hospital_carries_our_policies(home: Path) -> None:
    local = kit(home, SITE) / "local"
    resources = json.loads((local / "resources.json.default").read_text())
    assert sorted(resources["class_allow_list"]) == sorted(ALLOWED_CLASSES)
    assert resources["app_validator"]["path"] == "fedgin.flare.jobs.job_validator.JobValidator"
    assert "site_log_streamer" not in {component["id"] for component in resources["components"]}
    ours = PROVISIONING / "policies" / "site"
    assert json.loads((local / "authorization.json.default").read_text()) == json.loads(
        (ours / "authorization.json").read_text()
    )
    for name in ("comm_config.json", "privacy.json"):
        assert (local / name).read_text() == (ours / name).read_text()
    check_manifest(kit(home, SITE) / "startup")


def test_the_servers_kit_keeps_jobs_out_of_the_shared_temporary_folder(home: Path) -> None:
    text = (kit(home, federation().server.host) / "local" / "resources.json.default").read_text()
    assert "/tmp" not in text
    assert str(federation().server.storage) in text


def test_the_private_key_never_leaves_its_owner(home: Path) -> None:
    request = home / SITE / "request"
    for name in (f"{SITE}.request.zip", f"{SITE}.signed.zip"):
        with zipfile.ZipFile(request / name) as archive:
            for member in archive.namelist():
                assert b"PRIVATE KEY" not in archive.read(member), member
    key = kit(home, SITE) / "startup" / "client.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_certificate_is_the_roots_and_names_the_site(home: Path) -> None:
    startup = kit(home, SITE) / "startup"
    certificate, root = (
        x509.load_pem_x509_certificate((startup / name).read_bytes()) for name in ("client.crt", "rootCA.pem")
    )
    certificate.verify_directly_issued_by(root)
    assert certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == SITE


def test_definitions_hold_no_secret_and_nobody_flare_would_not_sign(tmp_path: Path) -> None:
    plan = federation()
    folders = write_definitions(plan, PROVISIONING / "policies", tmp_path)
    names = [folder.name for folder in folders]
    assert names[0] == plan.server.host
    assert not {person.email for person in plan.people if person.role == "project_admin"} & set(names)
    assert {site.name for site in plan.sites} <= set(names)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_definitions(plan, PROVISIONING / "policies", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_policies_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="policies"):
        write_definitions(federation(), tmp_path / "policies", tmp_path / "out")


def test_a_shared_key_is_not_for_distributed_provisioning(tmp_path: Path) -> None:
    plan = federation().model_copy(update={"encryption_key": 1})
    with pytest.raises(ConfigError, match="sends no secrets"):
        write_definitions(plan, PROVISIONING / "policies", tmp_path)
    assert not any(tmp_path.iterdir())
