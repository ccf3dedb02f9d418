"""Names that mean nothing outside the site: a keyed hash of what identifies a patient or a series."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from fedgin.errors import ConfigError

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32


class Pseudonyms:
    """Gives the same names for the same key and identifiers, in every run.

    Args:
        key: 32 secret bytes; who has them can test a guessed patient id against a name.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def patient(self, identifier: str) -> str:
        """Return ``p`` and 16 hexadecimal digits."""
        return f"p{self.digest('patient', identifier)[:16]}"

    def series(self, identifier: str) -> str:
        """Return ``s`` and 16 hexadecimal digits."""
        return f"s{self.digest('series', identifier)[:16]}"

    def digest(self, purpose: str, *parts: str) -> str:
        """Return HMAC-SHA256 of ``parts`` as 64 hexadecimal digits; one purpose says nothing about another."""
        message = "\0".join([purpose, *parts]).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def open_pseudonyms(folder: Path) -> Pseudonyms:
    """Read the site's key, or draw one: ``folder`` gets mode 0700 and ``pseudonym.key`` 0600.

    Raises:
        ConfigError: the key is open to other users, or is no key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / KEY_FILE
    if not path.exists():
        write_private(path, secrets.token_hex(_KEY_BYTES) + "\n")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{KEY_FILE} can be read by other users", f"run: chmod 600 {KEY_FILE}")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{KEY_FILE} is damaged", "restore it from the backup; a new key gives new pseudonyms")
    return Pseudonyms(key)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on; it appears complete or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    scratch.replace(path)
