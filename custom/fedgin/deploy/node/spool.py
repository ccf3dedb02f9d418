"""What a DICOM node has received and has to send, on disk, so that no kill and no power cut loses any of it.

``SPOOL/studies/KEY/`` holds ``images/``, ``results/`` and ``state.json`` of a study. Keys are hashes of the study's
UID: a folder's name, a log line and the status say nothing of a patient.
"""

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError

from fedgin.config import Settings
from fedgin.files import whole_file, write_text

LOG = logging.getLogger("fedgin.node")


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
        problem: why a part of the study, or all of it, could not be segmented, without anything of a patient.
        unsent: the last reason why results could not be sent; empty once they are.
    """

    images: str = ""
    phase: Phase = Phase.RECEIVING
    pending: list[str] = Field(default=[])
    attempts: int = 0
    next_try: float = 0.0
    since: float = 0.0
    problem: str = ""
    unsent: str = ""

    def said(self) -> str:
        """Return all that did not work on one line."""
        return "; ".join(filter(None, (self.problem, self.unsent)))


@dataclass(frozen=True)
class Held:
    """What of a study is in the spool.

    Attributes:
        size: bytes of its images.
        last: when the latest came, seconds since the epoch; 0 without one.
    """

    size: int = 0
    last: float = 0.0


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
        return [self.images / name for name in self._names()]

    def fingerprint(self) -> str:
        """Return a hash of which images there are."""
        return hashlib.sha256("\n".join(self._names()).encode()).hexdigest()

    def last_received(self) -> float:
        """Return when the latest image came, seconds since the epoch; 0 without one."""
        return self.held().last

    def held(self) -> Held:
        """Look how much there is of it."""
        facts = list(self._facts())
        return Held(sum(item.st_size for item in facts), max((item.st_mtime for item in facts), default=0.0))

    def _names(self) -> list[str]:
        """Return the names of the images, sorted; a worker asks for them twice a second, so that no path is made."""
        try:
            names = os.listdir(self.images)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.endswith(".dcm") and not name.startswith("."))

    def _facts(self) -> Iterator[os.stat_result]:
        """Look at the images; the study may be forgotten meanwhile."""
        for path in self.received():
            with suppress(FileNotFoundError):
                yield path.stat()


class Spool:
    """All studies of a node. How much there is of each is kept in memory: it is asked for at every image.

    Args:
        folder: of the spool; one process works in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "studies"
        self._forgotten = folder / "forgotten"
        self._lock = threading.Lock()
        self._held: dict[str, Held] | None = None

    def studies(self) -> list[SpooledStudy]:
        """Return the studies, the one that came first in front."""
        with self._lock:
            held, found = self._all_held(), self._found()
            for key in held.keys() - {study.key for study in found}:
                del held[key]  # somebody has deleted it
        return sorted(found, key=lambda study: (held.get(study.key, Held()).last, study.key))

    def store(self, study_uid: str, instance_uid: str, content: bytes) -> SpooledStudy:
        """Write an image; it is on disk when this returns. The same image again changes nothing.

        Other bytes under an old UID are left out with a warning: it may be the image in another encoding, or other
        content, which DICOM forbids. Archives such as Orthanc keep the first, too, and the UIDs of results, derived
        from those of images, stay those of one content.

        Raises:
            OSError: the disk is full, or the spool cannot be written; nothing half-written remains.
        """
        study = SpooledStudy(self.folder / study_key(study_uid))
        path = study.images / f"{hashlib.sha256(instance_uid.encode()).hexdigest()[:32]}.dcm"
        with self._lock:  # or the study might be forgotten with this image
            held = self._all_held()
            if path.exists():
                if path.read_bytes() != content:
                    LOG.warning(
                        "study %s: an image came again in another encoding, or with other content; the first is kept",
                        study.key,
                    )
            else:
                with whole_file(path) as part:
                    part.write_bytes(content)
                before = held.get(study.key, Held())
                held[study.key] = Held(before.size + len(content), path.stat().st_mtime)
        return study

    def megabytes(self, key: str | None = None) -> float:
        """Return the size of a study's images, or of all."""
        with self._lock:
            held = self._all_held()
            return sum(item.size for name, item in held.items() if key in (None, name)) / 1e6

    def remove(self, study: SpooledStudy, images: str) -> bool:
        """Forget a study; return whether that was done: not if it has got other images than ``images`` meanwhile.

        Args:
            study: to forget.
            images: fingerprint of the images that it is thought to have.
        """
        with self._lock:
            if study.fingerprint() != images:
                return False
            self.finish()
            self._forgotten.mkdir()
            study.folder.rename(self._forgotten / study.key)
            self._all_held().pop(study.key, None)
        self.finish()
        return True

    def finish(self) -> None:
        """Delete what a kill has left of a study that was being forgotten."""
        shutil.rmtree(self._forgotten, ignore_errors=True)

    def _all_held(self) -> dict[str, Held]:
        """Return by key what there is of each study; the disk is asked once. The caller has the lock."""
        if self._held is None:
            self._held = {study.key: study.held() for study in self._found()}
        return self._held

    def _found(self) -> list[SpooledStudy]:
        folders = self.folder.glob("*") if self.folder.is_dir() else ()
        return [SpooledStudy(path) for path in folders if path.is_dir()]

    def rows(self) -> Iterator[tuple[str, int, StudyState]]:
        """Yield key, number of images and state of each study."""
        for study in self.studies():
            yield study.key, len(study.received()), study.state


def study_key(study_uid: str) -> str:
    """Return the key of a study."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:12]
