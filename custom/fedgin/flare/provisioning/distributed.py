"""Definitions for FLARE's distributed provisioning, in which every private key is made by its owner and stays there.

Each participant gets a folder with ``participant.yaml`` and the policies. ``nvflare cert request`` makes key and
request from it. ``nvflare package`` later builds the kit and runs the builder named in it, so that a kit made at a
hospital carries the same policies as one of ours. It carries no signature: only the root's key could make one.
"""

import shutil
from pathlib import Path

import yaml

from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.flare.provisioning.federation import Federation, Person, Role, Site
from fedgin.flare.provisioning.project import LIGHTER, participant, policy_builder, server_participant, static_files
from fedgin.folders import claimed_folder

PROFILE = "profile.yaml"
DEFINITION = "participant.yaml"


def write_definitions(federation: Federation, policies: Path, out: Path) -> list[Path]:
    """Write ``OUT/PROJECT/profile.yaml`` and a folder for each participant; nothing in them is secret.

    FLARE signs no ``project_admin`` this way, so such people are left out.

    Args:
        federation: who takes part; withdrawn participants are left out.
        policies: folder with ``server/`` and ``site/``; copied into every folder.
        out: parent of the project's folder.

    Returns:
        the participants' folders, the server's first.

    Raises:
        FolderError: the project's folder holds something else, such as kits.
        ConfigError: a policy folder is missing, or the sites are to share a key: it would have to travel.
    """
    if federation.encryption_key is not None:
        raise ConfigError(
            "encryption_key: distributed provisioning sends no secrets, and all sites share this one",
            "leave --distributed out, or encryption_key",
        )
    home = claimed_folder(out / federation.project, "definitions of participants")
    write_text(home / PROFILE, yaml.safe_dump(_profile(federation), sort_keys=False))
    members: dict[str, dict[str, object]] = {federation.server.host: server_participant(federation)}
    members |= {name_of(item): participant(item) for item in federation.active() if _can_request(item)}
    return [_write(home / name, federation, definition, policies) for name, definition in members.items()]


def name_of(item: Site | Person) -> str:
    """Return the name that FLARE knows a participant by."""
    return item.email if isinstance(item, Person) else item.name


def _can_request(item: Site | Person) -> bool:
    return not (isinstance(item, Person) and item.role is Role.PROJECT_ADMIN)


def _profile(federation: Federation) -> dict[str, object]:
    port = federation.server.port
    return {
        "name": federation.project,
        "scheme": "grpc",
        "connection_security": "mtls",
        "server": {"host": federation.server.host, "fed_learn_port": port, "admin_port": port},
    }


def _write(folder: Path, federation: Federation, member: dict[str, object], policies: Path) -> Path:
    for role in ("server", "site"):
        if not (policies / role).is_dir():
            raise ConfigError(f"{policies / role}: no such folder", "keep policies/ beside sites.yaml")
        shutil.copytree(policies / role, folder / "policies" / role, dirs_exist_ok=True)
    definition = {
        "name": federation.project,
        "participants": [member],
        "builders": [
            {"path": f"{LIGHTER}.workspace.WorkspaceBuilder", "args": {}},
            static_files(),
            # Relative to the folder in which the participant runs "nvflare package".
            policy_builder(federation, Path("policies")),
        ],
    }
    write_text(folder / DEFINITION, yaml.safe_dump(definition, sort_keys=False))
    return folder
