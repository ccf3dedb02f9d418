"""What was offered, accepted and refused at one participant: ``security.jsonl`` in the participant's folder.

One line is one event. It is appended whole, reaches the disk before :func:`record` returns, and carries the SHA-256 of
the line before it; ``security.head`` beside it knows the last line. So a line that was edited, removed, reordered or
cut off is noticed. Who may write to the folder can compute the whole chain anew: it is a hint of tampering, no proof
against the machine's owner. Nothing here rotates or shortens the file.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID
from pydantic import AwareDatetime, ValidationError

from fedgin.config import Settings
from fedgin.errors import ConfigError, FedginError
from fedgin.files import locked

LOG, HEAD = "security.jsonl", "security.head"
FIRST = "0" * 64
LONGEST_TEXT = 400
# Longer than any line, whose texts are bounded; each character may take six bytes in JSON.
TAIL_BYTES = 65536
# A path may name a patient: everything of it goes, up to a sign that ends it.
_PATH = re.compile(r"(?<![\w.>])/[^\s/].*?(?=: |['\"]|\. Fix:|, |; |$)")


class Kind(StrEnum):
    """What happened."""

    JOB_OFFERED = "job_offered"
    JOB_ACCEPTED = "job_accepted"
    JOB_REFUSED = "job_refused"
    DEPLOYMENT_REFUSED = "deployment_refused"
    COMMAND_REFUSED = "command_refused"
    TASK_REFUSED = "task_refused"
    UPDATE_REFUSED = "update_refused"
    KIT_RUNS_TWICE = "kit_runs_twice"
    SITE_FAILED = "site_failed"

    @property
    def refused(self) -> bool:
        """Whether something was not done."""
        return self.value.endswith("_refused")


class Event(Settings):
    """One line.

    Attributes:
        time: the time in UTC.
        number: the number of the line, from 1.
        site: who wrote it, by the name in the certificate.
        kind: see :class:`Kind`.
        previous: SHA-256 of the line before, without its line end.
        job_id: FLARE's.
        job: its name.
        person: the job's submitter, or the user of the console, with ``organisation`` and ``role``.
        participant: who refused, whose update was refused, whose kit runs twice, or whose part of a job failed, if not
            ``site``.
        app_sha256: of the job's files, see :func:`fedgin.files.hash_files`.
        command: the command of the console.
        task: FLARE's task, such as ``train``.
        round: the round, from 0.
        reason: why it was refused; holds no path.
    """

    time: AwareDatetime
    number: int
    site: str
    kind: Kind
    previous: str
    job_id: str = ""
    job: str = ""
    person: str = ""
    organisation: str = ""
    role: str = ""
    participant: str = ""
    app_sha256: str = ""
    command: str = ""
    task: str = ""
    round: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class SecurityLog:
    """A security log as it was found.

    Attributes:
        events: those that can be read, in the order of the file.
        damage: one sentence for each place where it is not as it was written.
    """

    events: tuple[Event, ...]
    damage: tuple[str, ...]


def record(workspace: Path, kind: Kind, **facts: str | int) -> None:
    """Append one event; safe to call from several threads and processes at once.

    Args:
        workspace: the participant's unpacked kit, FLARE's workspace root.
        kind: what happened.
        facts: optional fields of :class:`Event`. Texts are cut to 400 characters, and paths are taken out.

    Raises:
        ConfigError: it cannot be written.
    """
    said = {name: _clean(fact, workspace) if isinstance(fact, str) else fact for name, fact in facts.items()}
    common = {"time": datetime.now(UTC), "site": participant_name(workspace), "kind": kind}
    try:
        with locked(workspace / HEAD) as head:
            number, previous = _tip(os.pread(head, 200, 0), workspace / LOG)
            event = Event.model_validate({**said, **common, "number": number + 1, "previous": previous})
            line = event.model_dump_json(exclude_defaults=True).encode()
            _append(workspace / LOG, line)
            os.pwrite(head, f"{event.number:012d} {_digest(line)}\n".encode(), 0)
            os.fsync(head)
    except OSError as error:
        raise ConfigError(
            f"{LOG} cannot be written ({error.strerror})",
            "free disk space and check the permissions of the folder",
        ) from None


def record_or_tell(workspace: Path, tell: Callable[[str], object], kind: Kind, **facts: str | int) -> None:
    """Append one event as :func:`record` does, or tell why it cannot be written, where the work must go on.

    Args:
        workspace: as of :func:`record`.
        tell: told the error, such as ``logger.error``.
        kind: what happened.
        facts: as of :func:`record`.
    """
    try:
        record(workspace, kind, **facts)
    except FedginError as error:
        tell(str(error))


def read_log(folder: Path) -> SecurityLog:
    """Read and check a security log; a missing one has no events.

    Args:
        folder: the folder with ``security.jsonl`` and ``security.head``, a kit or copied files.

    Raises:
        ConfigError: it is there but may not be read.
    """
    try:
        # First the head: lines that a running participant adds in between follow it.
        head = _content(folder / HEAD)
        lines = _content(folder / LOG).split(b"\n")
    except OSError as error:
        raise ConfigError(f"{folder / LOG}: cannot be read ({error.strerror})", "read it as its owner") from None
    damage = [f"{LOG}: the last line has no end"] if lines[-1] else []
    events, digests = [], {0: FIRST}
    last = (0, FIRST)
    for position, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        event = _parse(line)
        if event is None:
            damage.append(f"{LOG}, line {position}: cannot be read")
            continue
        if (event.number, event.previous) != (last[0] + 1, last[1]):
            damage.append(f"{LOG}, line {position}: does not follow from what is before it")
        last = (event.number, _digest(line))
        digests[event.number] = last[1]
        events.append(event)
    return SecurityLog(tuple(events), (*damage, *_check_head(head, digests)))


def participant_name(workspace: Path) -> str:
    """Return the name in a kit's certificate, or of the folder if there is none."""
    for name in ("client.crt", "server.crt"):
        with contextlib.suppress(OSError, ValueError):
            certificate = x509.load_pem_x509_certificate((workspace / "startup" / name).read_bytes())
            [attribute] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return str(attribute.value)
    return workspace.resolve().name


def _clean(text: str, workspace: Path) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _PATH.sub("<path>", text.replace(f"{workspace.resolve()}/", ""))[:LONGEST_TEXT]


def _tip(head: bytes, log: Path) -> tuple[int, str]:
    """Return number and hash of the line to follow.

    That is what the head says, not what the file ends with: the next line would otherwise hide that the end was cut
    off. One line more is a writer that was killed between line and head.
    """
    number, digest = _parse_head(head) or (0, FIRST)
    line = _last_line(log)
    event = _parse(line)
    if event is not None and (event.number, event.previous) == (number + 1, digest):
        return event.number, _digest(line)
    return number, digest


def _last_line(log: Path) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().removesuffix(b"\n").rpartition(b"\n")[2]


def _append(log: Path, line: bytes) -> None:
    """Append one line, or nothing if the disk is full."""
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        # A writer that was killed, or an editor, left a line without its end.
        lead = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
        text = lead + line + b"\n"
        try:
            if os.write(descriptor, text) != len(text):
                raise OSError(28, "no space left")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _check_head(head: bytes, digests: dict[int, str]) -> Iterator[str]:
    known = _parse_head(head)
    if known is None and (head or len(digests) > 1):
        yield f"{HEAD}: missing or not readable, so a cut-off end would not be noticed"
    elif known is not None and digests.get(known[0]) != known[1]:
        yield f"{LOG}: line {known[0]}, once the last one, is missing or was changed"


def _parse_head(head: bytes) -> tuple[int, str] | None:
    found = re.fullmatch(rb"(\d{12}) ([0-9a-f]{64})\n", head)
    return (int(found[1]), found[2].decode()) if found else None


def _parse(line: bytes) -> Event | None:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
