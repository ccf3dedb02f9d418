"""What sites answered to a job that collects fingerprints: ``metrics/fingerprints.json`` of the server's run folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedgin.documents import read_json
from fedgin.errors import DataError, FedginError, one_line
from fedgin.files import write_text

FILE = Path("metrics") / "fingerprints.json"
# A fingerprint of a hundred organs has some 100 kB.
LARGEST = 2**20
NO_ANSWER = "it gave no answer"


@dataclass(frozen=True)
class Collection:
    """The answers.

    Attributes:
        fingerprints: by site, what it sent: JSON values that nobody has looked at.
        refused: by site, why it sent none.
    """

    fingerprints: Mapping[str, Any]
    refused: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write them as JSON; the folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def read_answer(said: object) -> Any:
    """Return what a site sent as its fingerprint, as plain JSON values.

    Raises:
        ValueError: it is no mapping, no JSON, or too large.
    """
    try:
        text = json.dumps(said, allow_nan=False)
    except (TypeError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(said, Mapping) or len(text) > LARGEST:
        raise ValueError("no mapping, or too large")
    return json.loads(text)


def read_collection(folder: Path) -> Collection:
    """Read the answers in a server's run folder; a fingerprint under another site's name is refused here.

    Raises:
        DataError: there are none, or they are not as the server writes them.
    """
    try:
        values = read_json(folder / FILE, source=FILE.name)
        fingerprints = {str(site): dict(found) for site, found in values["fingerprints"].items()}
        refused = {str(site): one_line(str(reason)) for site, reason in values["refused"].items()}
    except (FedginError, KeyError, TypeError, ValueError, AttributeError):
        raise DataError("the result has no fingerprints", "collect them again: fedgin plan --kit") from None
    foreign = [site for site, found in fingerprints.items() if found.get("site") != site]
    refused |= dict.fromkeys(foreign, "it sent the fingerprint of another site")
    return Collection({site: fingerprints[site] for site in fingerprints if site not in foreign}, refused)
