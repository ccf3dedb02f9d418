"""Remember what was written from what, so that a second run converts only what is new or changed."""

import json
from collections.abc import Iterable
from pathlib import Path

from fedgin.data.dicom.facts import SliceHeader
from fedgin.data.dicom.pseudonyms import Pseudonyms
from fedgin.files import write_text

# Raise this when the same DICOM files and rules would give other voxels than before.
CONVERSION_VERSION = "5"


class Ledger:
    """One small record a written file, under ``.ingest`` in the dataset.

    Args:
        out: folder of the dataset.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def is_done(self, product: Path, key: str) -> bool:
        """Tell whether ``product`` (relative) was written from the content ``key`` and is still whole."""
        try:
            record = json.loads(self._record(product).read_text(encoding="utf-8"))
            return bool(record == {"key": key, "bytes": (self._out / product).stat().st_size})
        except (OSError, ValueError):
            return False

    def record(self, product: Path, key: str) -> None:
        """Note that ``product`` is complete."""
        values = {"key": key, "bytes": (self._out / product).stat().st_size}
        write_text(self._record(product), json.dumps(values))

    def _record(self, product: Path) -> Path:
        # With its folder: an image and its label have one name where images are compressed.
        return self._out / ".ingest" / f"{product.parent}-{product.name}.json"


def content_key(pseudonyms: Pseudonyms, files: Iterable[SliceHeader], *settings: str) -> str:
    """Return a key that changes when a slice is added or removed, a file written again, or a setting changes."""
    # Frames of one file share all but their number, and in another part of the series their positions, too.
    stamps = sorted(f"{item.path.name}|{item.instance}|{item.frame}|{item.position}|{item.stamp}" for item in files)
    return pseudonyms.digest("content", CONVERSION_VERSION, *settings, *stamps)
