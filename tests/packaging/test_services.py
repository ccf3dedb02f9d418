"""Containers and services: what can be said about them without an engine to run them."""

import configparser
import re
from typing import Any

import pytest
import yaml

import fedgin
from tests.places import ROOT

FOLDER = ROOT / "provisioning" / "packaging"
ROLES = ("server", "site", "console")


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


def test_a_site_cannot_write_its_data_and_listens_to_nobody() -> None:
    found = service("site")
    assert next(volume for volume in found["volumes"] if ":/data" in volume).endswith(":ro")
    assert "ports" not in found


def test_the_image_is_pinned_installs_offline_with_hashes_and_is_not_root() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.11\.\d+-slim", text, re.MULTILINE)
    assert "--no-index" in text
    assert "--require-hashes" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["fedgin"]


@pytest.mark.parametrize("role", ["server", "site"])
def test_a_unit_checks_the_kit_from_outside_and_is_confined(role: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read(FOLDER / f"fedgin-{role}.service")
    section = unit["Service"]
    assert "verify_startup_kits" in section["ExecStartPre"]
    assert section["ExecStart"].endswith("startup/sub_start.sh --once")
    assert section["User"] == "fedgin"
    assert section["Restart"] == "on-failure"
    assert {section[key] for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome")} == {"true"}
    assert section["ProtectSystem"] == "strict"
