"""What docs/faults.md says of files and disks: a site's data and cache, and disks that are full."""

import shutil
from pathlib import Path

import pytest

from fedgin.data.datalist import Split, list_cases
from fedgin.flare.jobs.job import stage_job
from poc.federation import SERVER
from tests.integration.faults.setting import (
    Fault,
    Run,
    Setting,
    allow_writing,
    check_completed,
    find_cause,
    forbid_writing,
    restart_bound_by_modes,
    resume,
    said_in_this_round,
    server_job_process,
    start,
    suspend_at_work,
    trainer,
    wait_for_line,
    wait_for_round,
    wait_until,
)

pytestmark = pytest.mark.flare


def check_silence(setting: Setting, site: str, before: int) -> None:
    """The server must not learn where a site keeps its things."""
    told = setting.federation.log(SERVER)[before:]
    assert str(setting.sites[site].data_root) not in told
    assert str(setting.federation.kit(site)) not in told


def test_a_file_that_vanishes_between_rounds_ends_the_job_with_the_case(
    setting: Setting, fault: Fault, tmp_path: Path
) -> None:
    label = list_cases(setting.sites["ct-a"])[Split.VALIDATION][0].label
    away, before = tmp_path / "away", len(setting.federation.log(SERVER))

    def take_away(run: Run) -> None:
        label.rename(away)
        fault.strikes()

    run = start(setting, take_away)
    line = find_cause(setting, run, tmp_path / "ended", "site ct-a, task train: site ct-a, validation case 1:")
    check_silence(setting, "ct-a", before)
    assert label.name not in line
    away.rename(label)
    fault.overcome("a file of a site vanishes", lost=resume(setting, run, tmp_path / "out"), line=line)


def test_a_read_only_data_folder_is_told(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    """The cache is in it, unless site.yaml names another folder."""
    site, before = setting.sites["mr-a"], len(setting.federation.log(SERVER))
    job = stage_job(setting.job, tmp_path / "short", sites=2, rounds=1, changes={})
    restart_bound_by_modes(setting, "mr-a")
    shutil.rmtree(site.cache_dir, ignore_errors=True)
    site.data_root.chmod(0o555)
    fault.strikes()
    failed = start(setting, job=job)
    site.data_root.chmod(0o755)
    line = find_cause(setting, failed, tmp_path / "ended", "site mr-a, task train:")
    assert "the cache folder cannot be written" in line
    check_silence(setting, "mr-a", before)
    run = start(setting, job=job)
    assert run.meta["status"] == "FINISHED:COMPLETED", run.told
    fault.overcome("the data folder of a site is read-only", lost=0, line=line)


def test_a_job_after_a_full_disk_at_a_site_is_resumed(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    before = len(setting.federation.log(SERVER))

    def fill(run: Run) -> None:
        forbid_writing(trainer(setting.federation, "mr-a"))
        fault.strikes()

    run = start(setting, fill)
    line = find_cause(setting, run, tmp_path / "ended", "site mr-a, task train:")
    assert "cannot be written" in line
    assert "free disk space" in line
    check_silence(setting, "mr-a", before)
    fault.overcome("full disk at a site", lost=resume(setting, run, tmp_path / "out"), line=line)


def test_a_full_disk_at_the_server_is_waited_out(setting: Setting, fault: Fault, tmp_path: Path) -> None:
    """Not even FLARE's audit log can be written, so that no update is taken; the sites send theirs until it can."""
    lines = []

    def fill_and_free(run: Run) -> None:
        # The server has ct-a's update and waits: what it was writing would fail in another way.
        training = suspend_at_work(setting, "mr-a")
        wait_until(lambda: said_in_this_round(setting, "site ct-a sent its update"), "ct-a's update")
        before, process = len(setting.federation.log("mr-a")), server_job_process(setting.federation)
        forbid_writing(process)
        fault.strikes()
        training.resume()
        lines.append(wait_for_line(setting, "mr-a", "failed to send task result to server", after=before))
        allow_writing(process)
        wait_for_round(setting)
        fault.is_over()

    run = start(setting, fill_and_free)
    check_completed(setting, run, tmp_path / "out")
    fault.overcome("full disk at the server", lost=0, line=lines[0])
