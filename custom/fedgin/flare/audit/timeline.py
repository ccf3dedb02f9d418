"""One timeline of a participant: our security log and FLARE's own ``audit.log``."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fedgin.errors import ConfigError
from fedgin.flare.audit.security_log import LOG, Event, Kind, read_log

FLARE_LOG = "audit.log"
# What a console asks again and again while it follows a job.
POLLING = {"get_job_meta", "show_stats", "check_status", "list_jobs"}
# FLARE's line; its action may hold anything, also brackets.
_LINE = re.compile(r"\[E:[^\]]*\](?:\[R:[^\]]*\])?\[T:([^\]]*)\]\[U:([^\]]*)\]\[A:(.*)\](.*)")


@dataclass(frozen=True)
class TimelineRow:
    """One thing that happened.

    Attributes:
        time: the time in UTC.
        source: the file that says so.
        what: a :class:`~fedgin.flare.audit.security_log.Kind`, or ``command`` for a line of FLARE's.
        refused: whether it was not done.
        who: person with organisation and role, as far as they are known.
        job: name and id.
        detail: reason, command, or hash.
    """

    time: datetime
    source: str
    what: str
    refused: bool
    who: str = ""
    job: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Timeline:
    """Rows in the order of time, and what is wrong with the files they are from."""

    rows: tuple[TimelineRow, ...]
    damage: tuple[str, ...]
    notes: tuple[str, ...]


def read_timeline(folder: Path) -> Timeline:
    """Merge both files of a kit, or of a folder to which they were copied.

    FLARE writes local time without a zone. It is read in this machine's zone, or the one that the variable TZ names.

    Raises:
        ConfigError: neither file is there, or one may not be read.
    """
    if not any((folder / name).is_file() for name in (LOG, FLARE_LOG)):
        raise ConfigError(f"{folder}: neither {LOG} nor {FLARE_LOG}", "give an unpacked kit that was started")
    log = read_log(folder)
    damage = list(log.damage)
    rows = [*_our_rows(log.events), *_flare_rows(folder / FLARE_LOG, damage)]
    return Timeline(tuple(sorted(rows, key=lambda row: row.time)), tuple(damage), tuple(_notes(log.events)))


def without_polling(rows: Sequence[TimelineRow]) -> list[TimelineRow]:
    """Fold a console's repeated questions, one after the other, into one row."""
    kept: list[TimelineRow] = []
    count = 0
    for row in rows:
        polls = not row.refused and row.what == "command" and row.detail.partition(" ")[0] in POLLING
        if polls and count and kept[-1].who == row.who:
            count += 1
            kept[-1] = replace(kept[-1], detail=f"{count} questions about the state until {row.time:%H:%M:%S}")
        else:
            kept.append(row)
            count = int(polls)
    return kept


def _our_rows(events: Sequence[Event]) -> Iterator[TimelineRow]:
    names = {event.job_id: event.job for event in events if event.job}
    for event in events:
        job = " ".join(text for text in (names.get(event.job_id, ""), event.job_id) if text)
        origin = " ".join(text for text in (event.role, event.organisation) if text)
        who = f"{event.person} ({origin})" if origin else event.person
        yield TimelineRow(
            event.time.astimezone(UTC), LOG, event.kind.value, event.kind.refused, who, job, _detail(event)
        )


def _detail(event: Event) -> str:
    parts = [
        event.participant,
        event.command,
        event.task,
        "" if event.round is None else f"round {event.round + 1}",
        event.reason,
        f"sha256 {event.app_sha256}" if event.app_sha256 and not event.reason else "",
    ]
    return ": ".join(part for part in parts if part)


def _flare_rows(path: Path, damage: list[str]) -> Iterator[TimelineRow]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "read it as its owner") from None
    for position, line in enumerate(text.split("\n"), 1):
        row = _flare_row(line)
        if row is not None:
            yield row
        elif line:
            damage.append(f"{FLARE_LOG}, line {position}: cannot be read")


def _flare_row(line: str) -> TimelineRow | None:
    found = _LINE.fullmatch(line)
    try:
        time = datetime.fromisoformat(found[1]).astimezone(UTC) if found else None
    except (ValueError, OverflowError, OSError):
        time = None
    if found is None or time is None:
        return None
    # A login comes before its user is known; what the server itself asks of a site has no user.
    user = {"?": "", "": "the server"}.get(found[2], found[2])
    return TimelineRow(time, FLARE_LOG, "command", False, user, "", f"{found[3]} {found[4]}".strip())


def _notes(events: Sequence[Event]) -> Iterator[str]:
    """Name the jobs that were offered and then not answered by our check."""
    answered = {event.job_id for event in events if event.kind in (Kind.JOB_ACCEPTED, Kind.JOB_REFUSED)}
    for event in events:
        if event.kind is Kind.JOB_OFFERED and event.job_id not in answered:
            yield (
                f"job {event.job} {event.job_id} was offered and did not reach this package's check: FLARE refused it "
                "(its signature, for example), or the check is switched off in local/resources.json"
            )
