import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from fedgin.data.limits import Limits
from fedgin.data.site import Modality, SiteContract
from fedgin.data.validation import Severity
from fedgin.deploy.doctor import accelerator, clock, machine, packages
from tests.deploy.doctor.kits import close_folder, issue
from tests.places import ROOT

PASS, WARN, FAIL = Severity.PASS, Severity.WARN, Severity.FAIL
GB = 10**9


def contract(device: str, share: float = 1.0) -> SiteContract:
    limits = Limits(gpu_memory_fraction=share)
    return SiteContract(
        site="hospital-a", modality=Modality.CT, data_root=Path(), labels={"liver": 1}, device=device, limits=limits
    )


@pytest.mark.parametrize(("free", "severity"), [(1, FAIL), (10, WARN), (100, PASS)])
def test_disk_is_graded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, severity: Severity) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free * GB, total=free * GB))
    (finding,) = machine.check_disk({"cache": tmp_path / "not" / "there"})
    assert finding.severity is severity
    assert str(tmp_path) not in finding.message


def test_a_folder_that_this_user_cannot_write_fails_by_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "data"
    closed.mkdir()
    # Root may write anywhere, so the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed)
    folders = {"cache": closed / ".fedgin-cache", "runs": tmp_path / "runs"}
    (finding,) = machine.check_writable(folders, "name another folder")
    assert (finding.severity, finding.message) == (FAIL, "this user cannot write cache")
    assert finding.fix == "name another folder"
    assert machine.check_writable({"runs": tmp_path / "runs"}, "")[0].severity is PASS


def test_a_folder_below_one_that_this_user_may_not_enter_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed" / "cache").mkdir(parents=True)
    close_folder(monkeypatch, tmp_path / "closed")
    folders = {"cache": tmp_path / "closed" / "cache", "runs": tmp_path / "runs"}
    (finding,) = machine.check_writable(folders, "name another folder")
    assert (finding.severity, finding.message) == (FAIL, "this user cannot write cache")
    assert len(machine.check_disk(folders)) == 2


@pytest.mark.parametrize(("total", "severity"), [(2, FAIL), (6, WARN), (32, PASS)])
def test_memory_is_graded(monkeypatch: pytest.MonkeyPatch, total: int, severity: Severity) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=total * GB))
    monkeypatch.setattr(machine, "CGROUP_LIMIT", Path("not there"))
    assert machine.check_memory()[0].severity is severity


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB))
    monkeypatch.setattr(machine, "CGROUP_LIMIT", tmp_path / "memory.max")
    machine.CGROUP_LIMIT.write_text("3000000000\n")
    assert machine.check_memory()[0].severity is FAIL
    machine.CGROUP_LIMIT.write_text("max\n")
    assert machine.check_memory()[0].severity is PASS


@pytest.mark.parametrize(("size", "severity"), [(64 * 10**6, WARN), (2 * GB, PASS)])
def test_shared_memory_is_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, severity: Severity
) -> None:
    monkeypatch.setattr(machine, "SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=size))
    assert machine.check_shared_memory()[0].severity is severity
    monkeypatch.setattr(machine, "SHARED", tmp_path / "none")
    assert machine.check_shared_memory() == []


@pytest.mark.parametrize(
    ("device", "gpus", "free", "severity"),
    [
        ("cpu", 0, 0, PASS),
        ("auto", 0, 0, WARN),
        ("cuda", 0, 0, FAIL),
        ("cuda:1", 1, 24, FAIL),
        ("auto", 1, 24, PASS),
        ("cuda:0", 1, 2, WARN),
    ],
)
def test_the_gpu_is_compared_with_the_contract(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, free: int, severity: Severity
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free * GB, 24 * GB))
    assert accelerator.check_gpu(contract(device))[0].severity is severity


def test_a_small_share_of_a_gpu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (24 * GB, 24 * GB))
    assert accelerator.check_gpu(contract("cuda", share=0.1))[0].severity is WARN


def test_python_is_compared_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.check_python()[0].severity is PASS
    monkeypatch.setattr(platform, "python_version", lambda: "3.9.1")
    assert packages.check_python()[0].severity is FAIL


def test_packages_are_compared_with_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    torch_base = torch.__version__.partition("+")[0]
    lock.write_text(
        f"# pins\ntorch=={torch_base}  # local builds count\n--index-url x\n\nno-such==1; python_version<'3'\n"
    )
    (finding,) = packages.check_packages(lock)
    assert finding.message == "1 packages have the locked versions"
    lock.write_text("torch==0.1\nnot-installed-anywhere==1\n")
    (finding,) = packages.check_packages(lock)
    assert finding.severity is FAIL
    assert f"torch {torch.__version__} (==0.1)" in finding.message
    assert "not-installed-anywhere is missing" in finding.message
    assert packages.check_packages(tmp_path / "none")[0].severity is WARN


def test_the_lock_of_a_wheelhouse_is_compared_and_an_empty_one_fails(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    pinned = f"{torch.__version__} --hash=sha256:{'0' * 64}"
    further = f"numpy=={np.__version__} \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}"
    lock.write_text(f"torch=={pinned}\n{further}\n")
    (finding,) = packages.check_packages(lock)
    assert (finding.severity, finding.message) == (PASS, "2 packages have the locked versions")
    lock.write_text(f"torch==0.{pinned}\n")
    assert packages.check_packages(lock)[0].severity is FAIL
    for text in ("", "# nothing\n--index-url x\n", "{}"):
        lock.write_text(text)
        assert packages.check_packages(lock)[0].severity is FAIL


def test_the_lock_of_this_repository_holds_here() -> None:
    lock = ROOT / "requirements.txt"
    assert packages.check_packages(lock)[0].severity is PASS


class Clock(datetime):
    """A clock that stands still."""

    year_now = 2000

    @classmethod
    def now(cls, tz: object = None) -> "Clock":
        return cls(cls.year_now, 1, 1, tzinfo=UTC)


def test_a_clock_before_the_installation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "datetime", Clock)
    assert clock.check_clock(None)[0].severity is FAIL


def test_a_clock_before_the_certificate_fails() -> None:
    (finding,) = clock.check_clock(issue("hospital-a", start=2).certificate)
    assert finding.severity is FAIL
    assert "certificate" in finding.message


@pytest.mark.parametrize(("answer", "severity"), [("yes", PASS), ("no", WARN), ("", PASS)])
def test_the_system_is_asked_for_ntp(monkeypatch: pytest.MonkeyPatch, answer: str, severity: Severity) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/timedatectl")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: SimpleNamespace(stdout=f"{answer}\n"))
    assert clock.check_clock(None)[0].severity is severity


def test_a_system_without_a_time_service_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert clock.check_clock(issue("hospital-a").certificate)[0].severity is PASS
