"""What a DICOM node has received and has to send, on disk, so that no kill and no power cut loses any of it.

``SPOOL/studies/KEY/`` holds ``images/``, ``results/`` and ``state.json`` of a study. Keys are hashes of the study's
UID: a folder's name, a log line and the status say nothing of a patient.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError

from fedgin.config import Settings
from fedgin.files import whole_file, write_text


class Phase(StrEnum):
    """How far a study is."""

    RECEIVING = "receiving"
    TO_SEND = "to send"
    SENT = "sent"
    FAILED = "failed"


class StudyState(Settings):
    """What lasts of a study besides its files.

    Attributes:
        images: fingerprint of the images that the results are of; empty before there are any.
        phase: how far it is.
        pending: names of result files that are still to be sent.
        attempts: at sending, in vain.
        next_try: time of the next attempt, seconds since the epoch.
        since: time of the phase.
        problem: the last reason why something did not work, without anything of a patient.
    """

    images: str = ""
    phase: Phase = Phase.RECEIVING
    pending: list[str] = Field(default=[])
    attempts: int = 0
    next_try: float = 0.0
    since: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class SpooledStudy:
    """A study in the spool."""

    folder: Path

    @property
    def key(self) -> str:
        """Return the name under which logs and the status speak of it."""
        return self.folder.name

    @property
    def images(self) -> Path:
        """Return the folder of what was received."""
        return self.folder / "images"

    @property
    def results(self) -> Path:
        """Return the folder of what is to be sent."""
        return self.folder / "results"

    @property
    def state(self) -> StudyState:
        """Read the state; a damaged one starts afresh, which segments the study again."""
        try:
            return StudyState.model_validate_json((self.folder / "state.json").read_bytes())
        except (OSError, ValidationError):
            return StudyState()

    def save(self, state: StudyState) -> None:
        """Write the state; it is on disk when this returns."""
        write_text(self.folder / "state.json", state.model_dump_json())

    def received(self) -> list[Path]:
        """Return the images that are complete."""
        return sorted(self.images.glob("[!.]*.dcm")) if self.images.is_dir() else []

    def fingerprint(self) -> str:
        """Return a hash of which images there are."""
        return hashlib.sha256("\n".join(path.name for path in self.received()).encode()).hexdigest()

    def last_received(self) -> float:
        """Return when the latest image came, seconds since the epoch; 0 without one."""
        return max((path.stat().st_mtime for path in self.received()), default=0.0)

    def megabytes(self) -> float:
        """Return the size of the images."""
        return sum(path.stat().st_size for path in self.received()) / 1e6


class Spool:
    """All studies of a node.

    Args:
        folder: of the spool.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "studies"

    def studies(self) -> list[SpooledStudy]:
        """Return the studies, the one that came first in front."""
        folders = [path for path in self.folder.glob("*") if path.is_dir()] if self.folder.is_dir() else []
        return sorted(map(SpooledStudy, folders), key=lambda study: (study.last_received(), study.key))

    def store(self, study_uid: str, instance_uid: str, content: bytes) -> SpooledStudy:
        """Write an image; it is on disk when this returns. The same image again changes nothing.

        Raises:
            OSError: the disk is full, or the spool cannot be written; nothing half-written remains.
        """
        study = SpooledStudy(self.folder / study_key(study_uid))
        path = study.images / f"{hashlib.sha256(instance_uid.encode()).hexdigest()[:32]}.dcm"
        if not path.exists():
            with whole_file(path) as part:
                part.write_bytes(content)
        return study

    def megabytes(self) -> float:
        """Return the size of all images."""
        return sum(study.megabytes() for study in self.studies())

    def remove(self, study: SpooledStudy) -> None:
        """Forget a study whose results were sent."""
        shutil.rmtree(study.folder)

    def rows(self) -> Iterator[tuple[str, int, StudyState]]:
        """Yield key, number of images and state of each study."""
        for study in self.studies():
            yield study.key, len(study.received()), study.state


def study_key(study_uid: str) -> str:
    """Return the key of a study."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:12]
