"""An arm is run by one call at a time, whatever the calls do and however they end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedgin.study.claims import STALE_SECONDS, Claims

ARMS = [f"arm-{number}" for number in range(40)]
TAKE_ALL = f"""
import sys, time
from pathlib import Path
from fedgin.study.claims import Claims
own = Claims(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*[arm for arm in {ARMS} if own.take(arm)], flush=True)
sys.stdin.readline()
"""


def claim(folder: Path, arm: str = "arm", **changes: object) -> Path:
    """Take an arm as this process and change what the claim says."""
    assert Claims(folder).take(arm)
    path = max((folder / arm).iterdir(), key=lambda path: int(path.name))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_an_arm_is_taken_once_and_again_when_it_was_released(tmp_path: Path) -> None:
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.take("arm")
    assert not second.take("arm")
    assert not first.take("arm")
    assert second.take("another")
    assert second.owner("arm")
    first.release("arm")
    assert second.owner("arm") == ""
    assert second.take("arm")
    second.release("other")  # nobody has it


def test_two_processes_that_want_the_same_arms_never_get_the_same_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE_ALL, str(tmp_path)]
    calls = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    try:
        for call in calls:
            assert call.stdout is not None
            assert call.stdout.readline() == "ready\n"
        taken = []
        for call in calls:
            assert call.stdin is not None
            call.stdin.write("go\n")
        for call in calls:
            assert call.stdout is not None
            taken += call.stdout.readline().split()
        assert sorted(taken) == sorted(ARMS)
        assert not Claims(tmp_path).take("arm-0"), "both processes live"
    finally:
        for call in calls:
            call.kill()
            call.communicate()
    assert Claims(tmp_path).take("arm-0"), "a process of this machine that has ended runs nothing"


def test_what_another_machine_does_not_renew_is_taken_over_after_a_while(tmp_path: Path) -> None:
    path = claim(tmp_path, machine="another", pid=1, host="far")
    assert Claims(tmp_path).owner("arm") == "far"
    age(path, STALE_SECONDS - 60)
    assert not Claims(tmp_path).take("arm")
    age(path, STALE_SECONDS + 60)
    assert Claims(tmp_path).take("arm")


def test_a_claim_whose_writer_was_killed_meanwhile_waits_its_time_too(tmp_path: Path) -> None:
    path = claim(tmp_path)
    path.write_text("")
    assert Claims(tmp_path).owner("arm") == "another machine"
    assert not Claims(tmp_path).take("arm")
    age(path, STALE_SECONDS + 60)
    assert Claims(tmp_path).take("arm")


def test_an_owner_that_was_held_up_learns_that_it_lost_the_arm(tmp_path: Path) -> None:
    held_up = Claims(tmp_path)
    assert held_up.take("arm")
    assert held_up.take("kept")
    for arm in ("arm", "kept"):
        age(tmp_path / arm / "1", STALE_SECONDS + 60)
    other = Claims(tmp_path)
    assert other.take("arm")
    assert held_up.renew() == ["arm"]
    assert time.time() - (tmp_path / "kept" / "1").stat().st_mtime < 60
    held_up.release("arm")
    assert not Claims(tmp_path).take("arm"), "it has nothing to release any more"


def test_who_cannot_renew_stops_before_another_one_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Claims(tmp_path)
    assert own.take("arm")
    (tmp_path / "arm").rename(tmp_path / "gone")  # the folder cannot be reached
    assert own.renew() == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALE_SECONDS * 0.6)
    assert own.renew() == ["arm"]
