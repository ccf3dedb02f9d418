"""The site's FLARE startup kit: which files it has and what they hold."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import fedgin
from fedgin.data.validation.findings import Finding, fail, passed, warn
from fedgin.errors import ConfigError
from fedgin.manifest import check_manifest

FILES = ("fed_client.json", "client.crt", "client.key", "rootCA.pem")
# Of encrypted jobs; only some federations have one.
KEY = "client_context.tenseal"
FIX = "unpack the kit again as it was sent, without editing it"


@dataclass(frozen=True)
class Kit:
    """A startup kit of a client.

    Attributes:
        folder: its ``startup`` folder.
        certificate: the site's.
        key: the private key that should belong to it.
        root: the certificate of the federation's authority.
        host: the server's name.
        port: the server's port.
    """

    folder: Path
    certificate: x509.Certificate
    key: PrivateKeyTypes
    root: x509.Certificate
    host: str
    port: int


def read_kit(folder: Path) -> tuple[Kit | None, list[Finding]]:
    """Read a kit; ``None`` when it is not whole.

    Args:
        folder: the kit, or its ``startup`` folder.
    """
    startup = folder / "startup" if (folder / "startup").is_dir() else folder
    missing = [name for name in FILES if not (startup / name).is_file()]
    if missing:
        return None, [fail("kit", f"the kit lacks {', '.join(missing)}", "give the folder of the unpacked client kit")]
    try:
        host, port = _server(startup / "fed_client.json")
        kit = Kit(
            folder=startup,
            certificate=x509.load_pem_x509_certificate((startup / "client.crt").read_bytes()),
            key=load_pem_private_key((startup / "client.key").read_bytes(), password=None),
            root=x509.load_pem_x509_certificate((startup / "rootCA.pem").read_bytes()),
            host=host,
            port=port,
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError, UnsupportedAlgorithm):
        return None, [fail("kit", "a file of the kit cannot be read", FIX)]
    return kit, [
        passed("kit", "all files are there"),
        _check_permissions(startup / "client.key"),
        _check_package(startup),
        *_check_encryption(startup),
    ]


def _check_encryption(startup: Path) -> list[Finding]:
    """Check that a site with a key for encrypted jobs could use it."""
    if not (startup / KEY).is_file():
        return []
    if find_spec("tenseal") is not None:
        return [passed("encryption", "TenSEAL is installed for the kit's key")]
    fix = "pip install -r requirements-encryption.txt in the environment that runs FLARE"
    return [warn("encryption", "the kit has a key for encrypted jobs, but TenSEAL is not installed", fix)]


def _server(path: Path) -> tuple[str, int]:
    target: str = json.loads(path.read_text(encoding="utf-8"))["servers"][0]["service"]["target"]
    host, _, port = target.rpartition(":")
    if not host:
        raise ValueError("no host")
    return host.strip("[]"), int(port)


def _check_permissions(key: Path) -> Finding:
    mode = key.stat().st_mode & 0o777
    if mode & 0o077:
        return fail("key_permissions", f"client.key has mode {mode:04o}: others can read it", "chmod 600 client.key")
    return passed("key_permissions", f"client.key has mode {mode:04o}")


def _check_package(startup: Path) -> Finding:
    """Compare as the site does before each job: with another package, or without a manifest, it refuses all of them."""
    try:
        check_manifest(startup)
    except ConfigError as error:
        return fail("kit_package", error.problem, error.fix)
    return passed("kit_package", f"the kit expects the installed fedgin {fedgin.__version__}")
