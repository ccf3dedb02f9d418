import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.errors import ConfigError
from fedgin.flare.audit.security_log import Kind, record
from fedgin.flare.audit.timeline import _flare_row, read_timeline, without_polling


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(action: str, user: str = "lead@x.org", moment: str = "2026-11-24 03:38:52.499543") -> str:
    return f"[E:ec462989][T:{moment}][U:{user}][A:{action}]\n"


def write(folder: Path, *entries: str) -> None:
    (folder / "audit.log").write_text("".join(entries))


def test_both_files_are_merged_by_time_in_utc(tmp_path: Path) -> None:
    record(tmp_path, Kind.JOB_REFUSED, job_id="6f", reason="unknown key")
    write(tmp_path, line("submit_job job"), line("_logout", moment="2999-01-01 09:00:00.000001"))
    first, second, third = read_timeline(tmp_path).rows
    assert (first.source, first.what, first.who, first.detail) == (
        "audit.log",
        "command",
        "lead@x.org",
        "submit_job job",
    )
    assert first.time.isoformat() == "2026-11-23T18:38:52.499543+00:00"
    assert (second.source, second.what, second.refused, second.detail) == (
        "security.jsonl",
        "job_refused",
        True,
        "unknown key",
    )
    assert third.detail == "_logout"


def test_a_job_is_called_by_the_name_of_its_offer(tmp_path: Path) -> None:
    record(tmp_path, Kind.JOB_OFFERED, job_id="6f", job="organs", person="l@x.org", organisation="office", role="lead")
    record(tmp_path, Kind.JOB_ACCEPTED, job_id="6f", app_sha256="ab")
    offered, accepted = read_timeline(tmp_path).rows
    assert offered.who == "l@x.org (lead office)"
    assert (accepted.job, accepted.detail) == ("organs 6f", "sha256 ab")
    assert read_timeline(tmp_path).notes == ()


def test_rounds_are_told_from_one(tmp_path: Path) -> None:
    record(tmp_path, Kind.UPDATE_REFUSED, participant="ct-a", round=0, reason="it changes no weight")
    [row] = read_timeline(tmp_path).rows
    assert row.detail == "ct-a: round 1: it changes no weight"


def test_an_offer_that_never_reached_our_check_is_noted(tmp_path: Path) -> None:
    record(tmp_path, Kind.JOB_OFFERED, job_id="6f", job="organs")
    [note] = read_timeline(tmp_path).notes
    assert "job organs 6f was offered and did not reach this package's check" in note


def test_damaged_lines_of_either_file_are_named(tmp_path: Path) -> None:
    record(tmp_path, Kind.JOB_ACCEPTED)
    (tmp_path / "security.jsonl").write_text("{}\n")
    write(tmp_path, line("_logout"), "[E:1][T:yesterday][U:x][A:y]\n", "half a li")
    timeline = read_timeline(tmp_path)
    assert [text.partition(":")[0] for text in timeline.damage] == [
        "security.jsonl, line 1",
        "security.jsonl",
        "audit.log, line 2",
        "audit.log, line 3",
    ]
    assert [row.detail for row in timeline.rows] == ["_logout"]


@pytest.mark.parametrize(
    ("text", "who", "detail"),
    [
        (line("_cert_login a@x.org", user="?"), "", "_cert_login a@x.org"),
        (line("train.start_job", user=""), "the server", "train.start_job"),
        (line("x] [A:y"), "lead@x.org", "x] [A:y"),
        ("[E:1][R:2][T:2026-11-24 03:38:53][U:b@x.org][A:train.deploy]", "b@x.org", "train.deploy"),
        (
            line("component_authorization.x").strip() + "all classes",
            "lead@x.org",
            "component_authorization.x all classes",
        ),
    ],
)
def test_lines_of_flare_are_read(tmp_path: Path, text: str, who: str, detail: str) -> None:
    write(tmp_path, text)
    [row] = read_timeline(tmp_path).rows
    assert (row.who, row.detail) == (who, detail)


@given(st.text() | st.builds(lambda text: f"[E:1][T:{text}][U:a][A:b]", st.text()))
def test_any_line_is_read_or_not(text: str) -> None:
    row = _flare_row(text)
    assert row is None or row.time.tzinfo is not None


def test_repeated_questions_of_one_person_become_one_row(tmp_path: Path) -> None:
    polls = [
        line(f"{name} 6f", moment=f"2026-11-24 03:38:{second}.000001")
        for second, name in ((10, "get_job_meta"), (12, "show_stats"), (14, "get_job_meta"))
    ]
    write(
        tmp_path,
        line("submit_job job", moment="2026-11-24 03:38:09.0"),
        *polls,
        line("list_jobs", user="m@x.org", moment="2026-11-24 03:38:20.000001"),
    )
    rows = without_polling(read_timeline(tmp_path).rows)
    assert [(row.who, row.detail) for row in rows] == [
        ("lead@x.org", "submit_job job"),
        ("lead@x.org", "3 questions about the state until 18:38:14"),
        ("m@x.org", "list_jobs"),
    ]


def test_a_folder_without_logs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither security\.jsonl nor audit\.log"):
        read_timeline(tmp_path)
