"""What docs/faults.md says of what people do, or machines in their stead: aborts, stops, slow and damaged ones."""

import time
import zipfile
from pathlib import Path

import pytest

from fedgin.errors import WeightsError
from fedgin.flare.jobs.checkpoint import CHECKPOINT
from fedgin.flare.jobs.job import stage_job
from fedgin.flare.run.console import connect
from fedgin.flare.run.download import fetch_to_resume
from tests.integration.faults.setting import (
    Fault,
    Run,
    Setting,
    abort,
    check_completed,
    leave,
    resume,
    said_in_this_round,
    start,
    suspend_at_work,
    wait_for_line,
    wait_for_round,
    wait_until,
)

pytestmark = pytest.mark.flare


def test_a_slow_site_is_waited_for(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    lines = []

    def slow_down(run: Run) -> None:
        process = suspend_at_work(setting, "mr-a")
        fault.strikes()
        lines.append(wait_until(lambda: said_in_this_round(setting, "site ct-a sent its update"), "ct-a's update"))
        time.sleep(5.0)
        assert not said_in_this_round(setting, "site mr-a sent its update")
        process.resume()
        wait_for_round(setting)
        fault.is_over()

    run = start(setting, slow_down)
    check_completed(setting, run, tmp_path / "out")
    fault.overcome("training at a site stands still for 5 s", lost=0, line=lines[0])


@pytest.fixture(scope="module")
def aborted(setting: Setting) -> tuple[Run, str, float]:
    """A job that was aborted from the console, the status that it ended with, and when that was."""
    run = start(setting, leave)
    struck = time.monotonic()
    return run, abort(setting, run), struck


def test_an_aborted_job_is_resumed(
    setting: Setting, fault: Fault, tmp_path: Path, aborted: tuple[Run, str, float]
) -> None:
    run, status, fault.struck = aborted
    assert status == "FINISHED:ABORTED"
    fault.overcome("abort from the console", lost=resume(setting, run, tmp_path / "out"), line=status)


def cut_checkpoint(archive: Path) -> None:
    """Take away the half of the checkpoint in the run folder that the server keeps as an archive."""
    with zipfile.ZipFile(archive) as old:
        contents = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in contents.items():
            new.writestr(name, content[: len(content) // 2] if name.endswith(CHECKPOINT) else content)


def test_a_damaged_checkpoint_is_told_and_its_backup_resumed(
    setting: Setting, fault: Fault, tmp_path: Path, aborted: tuple[Run, str, float]
) -> None:
    run, _, _ = aborted
    kept = setting.federation.folder.parent / "storage" / "rehearsal" / "jobs" / run.job_id / "workspace"
    whole = kept.read_bytes()
    cut_checkpoint(kept)
    fault.strikes()
    with connect(setting.kit) as session, pytest.raises(WeightsError, match="damaged") as caught:
        fetch_to_resume(session, run.job_id, tmp_path / "damaged")
    kept.write_bytes(whole)
    with connect(setting.kit) as session:
        job = fetch_to_resume(session, run.job_id, tmp_path / "whole")
    fault.overcome("a damaged checkpoint", lost=max(0, run.complete - job.first_round), line=str(caught.value))


def test_a_site_that_was_stopped_between_jobs_takes_part_in_the_next(
    setting: Setting, fault: Fault, tmp_path: Path
) -> None:
    before = len(setting.federation.log("ct-a"))
    setting.federation.stop("ct-a")
    fault.strikes()
    setting.federation.start("ct-a")
    line = wait_for_line(setting, "ct-a", "Successfully registered client", after=before)
    job = stage_job(setting.job, tmp_path / "short", sites=2, rounds=1, changes={})
    run = start(setting, job=job)
    assert run.meta["status"] == "FINISHED:COMPLETED", run.told
    fault.overcome("a site is stopped and started between jobs", lost=0, line=line)
