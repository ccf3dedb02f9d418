"""What has been issued so far: the file that makes provisioning repeatable."""

from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError

from fedgin.config import Settings
from fedgin.errors import ConfigError
from fedgin.files import write_text

FILE = "issued.json"


class IssuedKit(Settings):
    """One kit.

    Attributes:
        digest: the digest of everything that the kit was made from, except keys.
        identity: what the certificate binds: role and organisation.
        archive: file name.
        sha256: of the archive.
        expires: end of the certificate's validity.
    """

    digest: str
    identity: dict[str, str]
    archive: str
    sha256: str
    expires: datetime


class IssuedKits(Settings):
    """All kits by participant."""

    kits: dict[str, IssuedKit] = Field(default_factory=dict)


def read_issued(folder: Path) -> IssuedKits:
    """Read the record of a project; an empty one before the first run.

    Raises:
        ConfigError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return IssuedKits()
    try:
        return IssuedKits.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise ConfigError(f"{path}: damaged", "restore it from the backup of this folder") from None


def write_issued(folder: Path, record: IssuedKits) -> None:
    """Write the record, and ``SHA256SUMS`` for ``sha256sum --check``."""
    write_text(folder / FILE, record.model_dump_json(indent=2) + "\n")
    lines = [
        f"{kit.sha256}  {kit.archive}\n" for _, kit in sorted(record.kits.items()) if (folder / kit.archive).is_file()
    ]
    write_text(folder / "SHA256SUMS", "".join(lines))
