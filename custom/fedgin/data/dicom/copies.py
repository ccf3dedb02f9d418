"""Drop exact copies: exports often hold a series twice, in two folders or under two names."""

import hashlib
import os
from collections.abc import Hashable, Sequence
from pathlib import Path

from fedgin.data.dicom.facts import SliceHeader


def drop_copies(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Return the slices without exact copies: of those that agree in all that is used, the first stays.

    Files are read only where two claim one instance and place.
    """
    claims: dict[Hashable, int] = {}
    for item in slices:
        claims[_claim(item)] = claims.get(_claim(item), 0) + 1
    kept, seen, digests = [], set[Hashable](), dict[Path, bytes]()
    for item in slices:
        if claims[_claim(item)] > 1:
            if item.path not in digests:
                digests[item.path] = _digest(item)
            content = (_claim(item), item.facts, digests[item.path])
            if content in seen:
                continue
            seen.add(content)
        kept.append(item)
    return kept


def _claim(item: SliceHeader) -> Hashable:
    return item.instance, item.frame, item.position


def _digest(item: SliceHeader) -> bytes:
    """Hash the pixels of a slice, or all of another object: two writers differ in headers that nobody uses."""
    try:
        with item.path.open("rb") as file:
            if item.position:
                file.seek(item.place.start or 0)
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # it could be read a moment ago; unread, it is a copy of nothing
        return os.fsencode(item.path)
