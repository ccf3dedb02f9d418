import json
import multiprocessing
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgin.errors import ConfigError
from fedgin.flare.audit.security_log import HEAD, LOG, Kind, read_log, record

LINES = 6


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kit = tmp_path_factory.mktemp("kit")
    for number in range(LINES):
        record(kit, Kind.JOB_REFUSED, job_id=f"job-{number}", reason="unknown key")
    return kit


@pytest.fixture
def kit(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "kit"))


def lines(kit: Path) -> list[bytes]:
    return (kit / LOG).read_bytes().splitlines(keepends=True)


def test_an_event_says_what_happened_when_and_where(tmp_path: Path) -> None:
    facts = {"job_id": "1f", "job": "organs", "person": "lead@x.org", "organisation": "office", "role": "lead"}
    record(tmp_path, Kind.UPDATE_REFUSED, **facts, participant="ct-a", round=0, reason="NaN in 3 tensors")
    log = read_log(tmp_path)
    assert log.damage == ()
    [event] = log.events
    assert (event.kind, event.number, event.site, event.round) == (Kind.UPDATE_REFUSED, 1, tmp_path.name, 0)
    assert event.model_dump(include=set(facts)) == facts
    assert abs(event.time - datetime.now(UTC)) < timedelta(minutes=1)
    assert json.loads((tmp_path / LOG).read_text())["time"].endswith("Z")


def test_only_the_owner_may_read_it(kit: Path) -> None:
    assert {stat.S_IMODE((kit / name).stat().st_mode) for name in (LOG, HEAD)} == {0o600}


def test_an_untouched_log_is_whole_also_after_more_lines(kit: Path) -> None:
    assert [event.number for event in read_log(kit).events] == list(range(1, LINES + 1))
    record(kit, Kind.JOB_ACCEPTED)
    assert read_log(kit).damage == ()
    assert len(read_log(kit).events) == LINES + 1


def is_noticed(kit: Path, content: bytes) -> bool:
    """Say whether a changed log is noticed, before and after the participant wrote another line to it."""
    head = (kit / HEAD).read_bytes()
    (kit / LOG).write_bytes(content)
    before = bool(read_log(kit).damage)
    record(kit, Kind.JOB_ACCEPTED)
    after = bool(read_log(kit).damage)
    (kit / HEAD).write_bytes(head)
    return before and after


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@given(data=st.data())
@shared
def test_any_edit_of_a_byte_is_noticed(kit: Path, original: Path, data: st.DataObject) -> None:
    content = (original / LOG).read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    assert is_noticed(kit, content[:place] + bytes([byte]) + content[place + 1 :])


@given(order=st.lists(st.integers(0, LINES - 1), max_size=2 * LINES).filter(lambda order: order != list(range(LINES))))
@shared
def test_removed_repeated_and_reordered_lines_are_noticed(kit: Path, original: Path, order: list[int]) -> None:
    whole = lines(original)
    assert is_noticed(kit, b"".join(whole[number] for number in order))


@given(size=st.integers(0, 10_000))
@shared
def test_a_cut_off_end_is_noticed(kit: Path, original: Path, size: int) -> None:
    content = (original / LOG).read_bytes()
    # The last line end alone is no loss: the next writer puts it back.
    assert is_noticed(kit, content[: size % (len(content) - 1)])


def test_without_its_head_a_log_may_be_cut_off_and_this_is_said(kit: Path) -> None:
    (kit / HEAD).unlink()
    assert "security.head: missing or not readable" in read_log(kit).damage[0]


def test_a_removed_log_is_noticed(kit: Path) -> None:
    (kit / LOG).unlink()
    assert f"line {LINES}, once the last one, is missing" in read_log(kit).damage[0]


def test_whoever_writes_the_folder_can_write_a_new_chain(kit: Path) -> None:
    """What it cannot do, so that nobody claims it."""
    for name in (LOG, HEAD):
        (kit / name).unlink()
    record(kit, Kind.JOB_ACCEPTED, reason="invented")
    assert read_log(kit).damage == ()


def test_a_writer_killed_before_the_head_leaves_a_whole_log(kit: Path) -> None:
    head = (kit / HEAD).read_bytes()
    record(kit, Kind.JOB_ACCEPTED)
    (kit / HEAD).write_bytes(head)
    assert read_log(kit).damage == ()
    record(kit, Kind.JOB_ACCEPTED)
    assert read_log(kit).damage == ()
    assert len(read_log(kit).events) == LINES + 2


def test_a_writer_killed_within_a_line_damages_that_line_only(kit: Path) -> None:
    with (kit / LOG).open("ab") as file:
        file.write(b'{"time":"2027')
    record(kit, Kind.JOB_ACCEPTED)
    assert read_log(kit).damage == (f"security.jsonl, line {LINES + 1}: cannot be read",)
    assert len(read_log(kit).events) == LINES + 1


def test_a_full_disk_leaves_the_log_as_it_was(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (kit / LOG).read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, text: write(file, text[:9]))
    with pytest.raises(ConfigError, match=r"security\.jsonl cannot be written"):
        record(kit, Kind.JOB_ACCEPTED)
    assert (kit / LOG).read_bytes() == before


def append(kit: Path, name: str) -> None:
    for number in range(200):
        record(kit, Kind.UPDATE_REFUSED, participant=name, round=number, reason="x" * 300)


def test_two_processes_write_whole_lines_and_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # inherited; the lock is what is tested
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append, args=(tmp_path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log = read_log(tmp_path)
    assert log.damage == ()
    for name in ("a", "b"):
        assert [event.round for event in log.events if event.participant == name] == list(range(200))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/data/jane doe/ct.nii: no such file. Fix: mend it", "<path>: no such file. Fix: mend it"),
        ("cannot read '/data/jane'. Fix: mend", "cannot read '<path>'. Fix: mend"),
        ("data_root is /data/Müller. Fix: correct it", "data_root is <path>. Fix: correct it"),
        ("in /data/jane doe", "in <path>"),
        ("a CT/MR mix, 3 of 4", "a CT/MR mix, 3 of 4"),
        ("x" * 1000, "x" * 400),
        ("lone \ud800", "lone ?"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_paths_are_taken_out_and_long_texts_cut(tmp_path: Path, text: str, kept: str) -> None:
    record(tmp_path, Kind.TASK_REFUSED, reason=text)
    [event] = read_log(tmp_path).events
    assert event.reason == kept
    assert len(lines(tmp_path)) == 1


def test_files_of_the_kit_keep_their_name(tmp_path: Path) -> None:
    record(tmp_path, Kind.JOB_REFUSED, reason=f"{tmp_path}/local/site.yaml: no such file")
    assert read_log(tmp_path).events[0].reason == "local/site.yaml: no such file"


def test_a_missing_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        record(tmp_path / "nowhere", Kind.JOB_ACCEPTED)
    assert read_log(tmp_path).events == ()
