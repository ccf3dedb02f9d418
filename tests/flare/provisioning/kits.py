"""Kits of the repository's own ``sites.yaml``."""

import tarfile
from pathlib import Path
from typing import Any

import yaml

from fedgin.config import parse_settings
from fedgin.flare.provisioning.federation import Federation
from fedgin.flare.provisioning.kits import KitRow
from tests.places import ROOT

PROVISIONING = ROOT / "provisioning"
POLICIES = PROVISIONING / "policies"
PROJECT = "abdomen-organs"


def plan(**changes: Any) -> Federation:
    values = yaml.safe_load((PROVISIONING / "sites.yaml").read_text())
    return parse_settings(values | changes, Federation, source="sites.yaml")


def by_status(rows: list[KitRow]) -> dict[str, str]:
    return {row.name: row.status for row in rows}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / PROJECT).glob("*.tar.gz"))}


def unpacked(out: Path, name: str, folder: Path) -> Path:
    with tarfile.open(out / PROJECT / f"{name}.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / name
