"""A FLARE startup kit: whose it is, which files it has and what they hold."""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import fedgin
from fedgin.data.validation.findings import Finding, fail, passed, warn
from fedgin.deploy.holder import is_here, running
from fedgin.errors import ConfigError
from fedgin.kit_path import check_kit_path
from fedgin.manifest import check_manifest

ROOT = "rootCA.pem"
# How the file of the key for encrypted jobs ends; only some federations have one, and no console.
KEY = "_context.tenseal"
FIX = "unpack the kit again as it was sent, without editing it"


@dataclass(frozen=True)
class KitKind:
    """For whom a kit is, and how FLARE names its files.

    Attributes:
        owner: the word for its owner in messages.
        settings: FLARE's settings, by which a kit is told from the others.
        base: stem of the files of certificate and key.
        runs_jobs: it carries the manifest of the package that runs the jobs.
    """

    owner: str
    settings: str
    base: str
    runs_jobs: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of the files that a whole kit has."""
        return (self.settings, f"{self.base}.crt", f"{self.base}.key", ROOT)


SITE = KitKind("site", "fed_client.json", "client", runs_jobs=True)
SERVER = KitKind("server", "fed_server.json", "server", runs_jobs=True)
CONSOLE = KitKind("console", "fed_admin.json", "client", runs_jobs=False)


@dataclass(frozen=True)
class Kit:
    """A startup kit.

    Attributes:
        kind: for whom it is.
        folder: its ``startup`` folder.
        certificate: its owner's.
        key: the private key that should belong to it.
        root: the certificate of the federation's authority.
        host: the server's name.
        port: the server's port.
        person: whose console it is; empty for the other kinds.
    """

    kind: KitKind
    folder: Path
    certificate: x509.Certificate
    key: PrivateKeyTypes
    root: x509.Certificate
    host: str
    port: int
    person: str


def startup_folder(folder: Path) -> Path:
    """Return the ``startup`` folder of a kit, which may be given itself."""
    return folder / "startup" if os.path.isdir(folder / "startup") else folder  # Path.is_dir() may raise


def find_kind(folder: Path) -> KitKind | None:
    """Tell by FLARE's settings whose kit it is; ``None`` when the folder is no kit.

    Args:
        folder: the kit, or its ``startup`` folder.
    """
    startup = startup_folder(folder)
    return next((kind for kind in (SERVER, CONSOLE, SITE) if os.path.isfile(startup / kind.settings)), None)


def read_kit(folder: Path, kind: KitKind = SITE) -> tuple[Kit | None, list[Finding]]:
    """Read a kit; ``None`` when it is not whole.

    Args:
        folder: the kit, or its ``startup`` folder.
        kind: whose kit it should be.
    """
    startup = startup_folder(folder)
    missing = [name for name in kind.files if not os.path.isfile(startup / name)]
    if missing:
        if os.path.isdir(startup) and not os.access(startup, os.X_OK):
            fix = f"run the doctor as the user of the {kind.owner}"
            return None, [fail("kit", "this user may not read the kit", fix)]
        fix = f"give the folder of the {kind.owner}'s unpacked kit"
        return None, [fail("kit", f"the kit lacks {', '.join(missing)}", fix)]
    try:
        kit = _load(startup, kind)
    except (OSError, ValueError, TypeError, KeyError, IndexError, UnsupportedAlgorithm):
        return None, [fail("kit", "a file of the kit cannot be read", FIX)]
    found = [passed("kit", "all files are there"), _check_permissions(startup / f"{kind.base}.key")]
    if kind.runs_jobs:
        root = startup.resolve().parent
        found += [_check_package(startup), _check_path(root), _check_running(root)]
    return kit, found + _check_encryption(startup / f"{kind.base}{KEY}")


def _check_path(root: Path) -> Finding:
    try:
        check_kit_path(root)
    except ConfigError as error:
        return fail("kit_path", error.problem, error.fix)
    return passed("kit_path", "FLARE can start jobs from the kit's path")


def _check_running(root: Path) -> Finding:
    """Say who runs the kit; a second start would be refused, but not on a machine with a copy of it."""
    name = running(root)
    if not name:
        return passed("kit_running", "no process runs this kit")
    if is_here(name):
        return passed("kit_running", "one process of this machine runs this kit")
    return warn("kit_running", "a process of another machine or container runs this kit", "start it in one place only")


def _check_encryption(key: Path) -> list[Finding]:
    """Check that who has a key for encrypted jobs could use it."""
    if not os.path.isfile(key):
        return []
    if find_spec("tenseal") is not None:
        return [passed("encryption", "TenSEAL is installed for the kit's key")]
    fix = "pip install -r requirements-encryption.txt in the environment that runs FLARE"
    return [warn("encryption", "the kit has a key for encrypted jobs, but TenSEAL is not installed", fix)]


def _load(startup: Path, kind: KitKind) -> Kit:
    host, port, person = _read_settings(startup / kind.settings, kind)
    if not host or not 0 < port < 2**16:
        raise ValueError("no address")
    return Kit(
        kind=kind,
        folder=startup,
        certificate=x509.load_pem_x509_certificate((startup / f"{kind.base}.crt").read_bytes()),
        key=load_pem_private_key((startup / f"{kind.base}.key").read_bytes(), password=None),
        root=x509.load_pem_x509_certificate((startup / ROOT).read_bytes()),
        host=host.strip("[]"),
        port=port,
        person=person,
    )


def _read_settings(path: Path, kind: KitKind) -> tuple[str, int, str]:
    """Return the server's name and port, and the person of a console."""
    values = json.loads(path.read_text(encoding="utf-8"))
    if kind is CONSOLE:
        admin = values["admin"]
        return str(admin["host"]), int(admin["port"]), str(admin["username"])
    host, _, port = str(values["servers"][0]["service"]["target"]).rpartition(":")
    return host, int(port), ""


def _check_permissions(key: Path) -> Finding:
    mode = key.stat().st_mode & 0o777
    if mode & 0o077:
        return fail("key_permissions", f"{key.name} has mode {mode:04o}: others can read it", f"chmod 600 {key.name}")
    return passed("key_permissions", f"{key.name} has mode {mode:04o}")


def _check_package(startup: Path) -> Finding:
    """Compare as the site does before each job: with another package, or without a manifest, it refuses all of them."""
    try:
        check_manifest(startup)
    except ConfigError as error:
        return fail("kit_package", error.problem, error.fix)
    return passed("kit_package", f"the kit expects the installed fedgin {fedgin.__version__}")
