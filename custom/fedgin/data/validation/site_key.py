"""A secret of the site that makes its hashes useless to anybody else."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from fedgin.errors import DataError

KEY_FILE = "site.key"
KEY_BYTES = 32


def load_key(folder: Path) -> bytes:
    """Return the key (32 bytes) kept in ``folder``; it is drawn at the first call and readable by its owner only.

    Raises:
        DataError: the file cannot be read or written, or was cut short.
    """
    path = folder / KEY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_private(path, secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError:
        raise DataError(
            "the output folder cannot be written", "free disk space, or give a writable folder with --out"
        ) from None
    if len(key) != KEY_BYTES:
        raise DataError("the site's key is damaged", f"remove {KEY_FILE} from the output folder; a new one is drawn")
    return key


def keyed_hash(key: bytes, *parts: bytes) -> str:
    """Return HMAC-SHA-256 in hex; each part is hashed first, so that no two lists of parts give one text."""
    return hmac.new(key, b"".join(hashlib.sha256(part).digest() for part in parts), hashlib.sha256).hexdigest()


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
