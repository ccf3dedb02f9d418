"""Containers and services: what can be said about them without an engine to run them."""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import fedgin
from fedgin.deploy.start import REFUSED
from fedgin.flare.provisioning import builders
from tests.places import ROOT

FOLDER = ROOT / "provisioning" / "packaging"
ROLES = ("server", "site", "console")


def unit(role: str) -> configparser.SectionProxy:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[method-assign, assignment]
    found.read(FOLDER / f"fedgin-{role}.service")
    return found["Service"]


def service(role: str) -> dict[str, Any]:
    [found] = yaml.safe_load((FOLDER / f"compose.{role}.yaml").read_text())["services"].values()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_container_has_no_more_rights_than_it_needs(role: str) -> None:
    found = service(role)
    assert found["user"] == "10001:10001"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in found["security_opt"]
    assert found["image"] == f"fedgin:{fedgin.__version__}"
    assert any(volume.endswith(":/kit") for volume in found["volumes"])


@pytest.mark.parametrize("role", ["server", "site"])
def test_a_container_whose_start_is_refused_is_not_started_for_ever(role: str) -> None:
    assert service(role)["restart"] == "on-failure:5"


def test_a_site_cannot_write_its_data_and_listens_to_nobody() -> None:
    found = service("site")
    assert next(volume for volume in found["volumes"] if ":/data" in volume).endswith(":ro")
    assert "ports" not in found


def example_of_site_yaml() -> dict[str, Any]:
    text = builders.SITE_YAML.format(name="hospital-a", modality="CT", cache=builders.CACHE)
    values = yaml.safe_load(text)
    assert isinstance(values, dict)
    return values


def holds(folder: str, path: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def test_a_container_writes_its_cache_and_ledger_into_a_volume_of_its_own_user() -> None:
    mounts = [
        volume.rsplit(":", 2) if volume.endswith(":ro") else volume.rsplit(":", 1)
        for volume in service("site")["volumes"]
    ]
    writable = [mount[1] for mount in mounts if len(mount) == 2]
    read_only = [mount[1] for mount in mounts if len(mount) == 3]
    values = example_of_site_yaml()
    beside = str(PurePosixPath(values["cache_dir"]).parent)  # validation and privacy ledger
    [volume] = [folder for folder in writable if holds(folder, beside)]
    assert [folder for folder in read_only if holds(folder, values["data_root"])] == ["/data"]
    made = re.search(r"install -d -o fedgin -g fedgin -m 700 (\S+)", (FOLDER / "Dockerfile").read_text())
    assert made is not None
    assert made[1] == volume


def test_a_unit_writes_cache_and_ledger_where_it_may() -> None:
    section = unit("site")
    values = example_of_site_yaml()
    beside = str(PurePosixPath(values["cache_dir"]).parent)
    assert any(holds(folder, beside) for folder in section["ReadWritePaths"].split())
    read_only = section["ReadOnlyPaths"].split()
    # systemd does not start a service one of whose folders is missing, unless "-" stands before it.
    assert all(folder.startswith("-") for folder in read_only)
    assert any(holds(folder.removeprefix("-"), values["data_root"]) for folder in read_only)


def test_the_gpu_variant_changes_nothing_but_image_and_gpu() -> None:
    values = yaml.safe_load((FOLDER / "compose.site-gpu.yaml").read_text())
    assert values.keys() == {"services"}
    assert values["services"].keys() == yaml.safe_load((FOLDER / "compose.site.yaml").read_text())["services"].keys()
    [found] = values["services"].values()
    assert found.keys() == {"image", "deploy"}
    assert found["image"].startswith(f"fedgin:{fedgin.__version__}-")
    [device] = found["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_image_is_pinned_installs_offline_with_hashes_and_is_not_root() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.11\.\d+-slim", text, re.MULTILINE)
    assert "--no-index" in text
    assert "--require-hashes" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["fedgin"]


# Stands for psutil in the container: this process, its starter, and what the test says runs there.
PROCESSES = """
import json, os, pathlib, types

def process_iter(attrs):
    own = [pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\\0")[:-1] for pid in (os.getpid(), os.getppid())]
    return [types.SimpleNamespace(info={"cmdline": words}) for words in [*own, *json.loads(os.environ["RUNNING"])]]
"""


@pytest.mark.parametrize(
    ("running", "code"),
    [
        ([], 1),
        ([None, ["bash", "/kit/startup/sub_start.sh", "--once"], ["less", "log of nvflare.private.fed.app"]], 1),
        ([["python3", "-m", "fedgin.deploy.start", "/kit", "nvflare.private.fed.app.client.client_train", "-m"]], 0),
    ],
)
def test_a_container_is_healthy_while_flare_runs_in_it(tmp_path: Path, running: list[object], code: int) -> None:
    found = re.search(r"^    CMD (python3 -c .*)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    (tmp_path / "psutil.py").write_text(PROCESSES)
    (tmp_path / "python3").symlink_to(sys.executable)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "RUNNING": json.dumps(running)}
    # With something after it, so that the shell stays, as it may in the container.
    done = subprocess.run(["/bin/sh", "-c", f"{found[1]}; exit $?"], env=variables, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize("role", ["server", "site"])
def test_a_unit_checks_the_kit_from_outside_and_is_confined(role: str) -> None:
    section = unit(role)
    assert "verify_startup_kits" in section["ExecStartPre"]
    assert section["ExecStart"].endswith("startup/sub_start.sh --once")
    assert section["User"] == "fedgin"
    assert section["Restart"] == "on-failure"
    assert section["RestartPreventExitStatus"] == str(REFUSED)
    assert {section[key] for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome")} == {"true"}
    assert section["ProtectSystem"] == "strict"
