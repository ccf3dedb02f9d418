import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedgin.flare.audit.certificate import certificate_warning
from fedgin.flare.audit.security_events import SecurityEvents
from tests.deploy.doctor.kits import issue


def kit(folder: Path, name: str = "client") -> Path:
    """Make a kit whose certificate holds for the next 300 days."""
    (folder / "startup").mkdir()
    issue("hospital-a", start=0).write(folder / "startup" / f"{name}.crt", folder / "startup" / f"{name}.key")
    return folder


@pytest.mark.parametrize("name", ["client", "server"])
@pytest.mark.parametrize(
    ("days", "said"),
    [
        (-1, "is valid from .* Fix: set the clock"),
        (301, "ended on .* Fix: ask the project lead for a new kit"),
        (299, "ends on .* Fix: ask the project lead for a new kit before"),
    ],
)
def test_a_certificate_that_nobody_would_accept_is_named_with_the_fix(
    tmp_path: Path, name: str, days: int, said: str
) -> None:
    line = certificate_warning(kit(tmp_path, name) / "startup", datetime.now(UTC) + timedelta(days=days))
    assert line.startswith("the certificate of this kit")
    assert len(line.splitlines()) == 1
    assert re.search(said, line)


def test_a_good_certificate_and_a_missing_one_are_no_news(tmp_path: Path) -> None:
    assert certificate_warning(tmp_path) == ""
    assert certificate_warning(kit(tmp_path) / "startup", datetime.now(UTC) + timedelta(days=100)) == ""


def test_a_participant_says_so_at_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "startup").mkdir()
    issue("hospital-a", start=-400, days=-40).write(tmp_path / "startup/client.crt", tmp_path / "startup/client.key")
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.ERROR):
        SecurityEvents()
    assert "the certificate of this kit ended on" in caplog.text
