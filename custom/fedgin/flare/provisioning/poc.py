"""FLARE's POC workspace for our jobs: the kits that ``nvflare poc`` starts, with our policies and each site's data."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml
from nvflare.tool.poc.poc_commands import get_prod_dir, prepare_poc_provision

from fedgin.config import parse_settings
from fedgin.data.site import SiteContract
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.encryption_library import can_encrypt
from fedgin.flare.provisioning.federation import Federation, Role
from fedgin.flare.provisioning.project import make_project
from fedgin.kit_path import check_kit_path

PROJECT = "fedgin_poc"
# The names of FLARE's tutorials. Its POC knows one project_admin; a lead submits as in a real federation.
SERVER = "server"
ADMIN, LEAD = "admin@nvidia.com", "lead@nvidia.com"


class PocError(FedginError):
    """FLARE could not prepare the workspace; nothing of it is left."""

    code = "FG-052"


def prepare_poc(folder: Path, sites: Mapping[str, SiteContract], policies: Path, *, port: int) -> dict[str, Path]:
    """Prepare a workspace as ``nvflare poc prepare`` does, and leave the user's own FLARE settings as they are.

    Args:
        folder: the folder of the workspace; missing, or empty.
        sites: contracts by site name, with absolute paths.
        policies: folder with ``server/`` and ``site/``.
        port: the port of the server on this machine.

    Returns:
        The kits: server, sites, project admin and lead.

    Raises:
        ConfigError: the folder holds something or cannot be named to a shell, a site's name is none for FLARE, or a
            policy is missing.
        PocError: FLARE refused.
    """
    _check_place(folder)
    folder = folder.resolve()
    project = poc_project(folder, sites, policies.resolve(), port)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # FLARE writes every key into it, readable for all
    try:
        _provision(folder, project)
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, FedginError) or not isinstance(error, Exception):
            raise
        raise PocError(f"FLARE prepared no workspace: {error}", "mend the cause and call it again") from error
    kits = Path(get_prod_dir(str(folder), PROJECT))
    return {name: kits / name for name in (SERVER, *sites, ADMIN, LEAD)}


def poc_project(folder: Path, sites: Mapping[str, SiteContract], policies: Path, port: int) -> dict[str, object]:
    """Return FLARE's project file of the workspace: :func:`make_project` with the names of FLARE's tutorials.

    Each site's ``site.yaml`` stands in it, too, and so ``nvflare poc prepare -i`` of the file makes the same kits.
    """
    values = {
        "project": PROJECT,
        "encryption_key": 1 if can_encrypt() else None,
        "server": {
            "host": "localhost",
            "port": port,
            "organisation": "nvidia",
            "contact": ADMIN,
            "storage": str(folder / "storage"),
        },
        "sites": [
            {"name": name, "organisation": "nvidia", "modality": contract.modality.value, "contact": ADMIN}
            for name, contract in sites.items()
        ],
        "people": [
            {"email": ADMIN, "organisation": "nvidia", "role": Role.PROJECT_ADMIN.value},
            {"email": LEAD, "organisation": "nvidia", "role": Role.LEAD.value},
        ],
    }
    project = make_project(parse_settings(values, Federation, source="the sites"), policies, folder / "keys")
    participants = project["participants"]
    assert isinstance(participants, list)
    for participant in participants:
        if participant["type"] == "server":
            participant |= {"name": SERVER, "default_host": "localhost"}
        elif participant["type"] == "client":
            participant["contract"] = sites[participant["name"]].model_dump(mode="json")
    return project


def _check_place(folder: Path) -> None:
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already", "choose another folder, or remove it with 'nvflare poc clean'")
    check_kit_path(folder)


def _provision(folder: Path, project: Mapping[str, object]) -> None:
    """Let FLARE make the kits; what it prints is for its own command."""
    with tempfile.TemporaryDirectory(prefix="fedgin-") as scratch:
        file = Path(scratch) / "project.yml"
        file.write_text(yaml.safe_dump(dict(project), sort_keys=False), encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepare_poc_provision([], 0, str(folder), None, project_conf_path=str(file), examples_dir="")
