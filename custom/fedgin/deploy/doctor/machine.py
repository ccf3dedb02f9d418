"""Disk, memory and shared memory."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import psutil

from fedgin.data.validation.findings import Finding, fail, passed, warn

GB = 1e9
# A cached case takes up to 20 MB and a run a few hundred MB of weights; below the first nothing can be written safely.
DISK_GB = (2.0, 20.0)
# One training process with 2D slices takes about 2 GB; FLARE's own processes take another one.
MEMORY_GB = (4.0, 8.0)
# Docker gives containers 64 MB, and data loader workers that pass batches through it then die without a word.
SHARED_GB = 0.5
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
SHARED = Path("/dev/shm")


def check_disk(folders: Mapping[str, Path]) -> list[Finding]:
    """Check the free space where each folder is or will be.

    Args:
        folders: what the folder is for, and the folder, which need not exist.
    """
    return [_grade_disk(use, shutil.disk_usage(_existing(folder)).free / GB) for use, folder in folders.items()]


def check_writable(folders: Mapping[str, Path], fix: str) -> list[Finding]:
    """Check that this user may write where each folder is or will be, and that no disk is read-only.

    Args:
        folders: what the folder is for, and the folder, which need not exist.
        fix: what to do where one cannot be written.
    """
    closed = [use for use, folder in folders.items() if not os.access(_existing(folder), os.W_OK | os.X_OK)]
    if not closed:
        return [passed("writable", f"{', '.join(folders)} can be written")]
    return [fail("writable", f"this user cannot write {', '.join(closed)}", fix)]


def check_memory() -> list[Finding]:
    """Check the memory that this machine, or the container it is, may use."""
    total = min(psutil.virtual_memory().total, _container_limit()) / GB
    low, good = MEMORY_GB
    said = f"{total:.1f} GB of memory"
    if total < low:
        return [fail("memory", said, f"give the machine or the container at least {good:g} GB")]
    if total < good:
        return [warn("memory", said, f"give it {good:g} GB, or keep other programs off during a round")]
    return [passed("memory", said)]


def check_shared_memory() -> list[Finding]:
    """Check the size of ``/dev/shm`` where the system has one."""
    if not SHARED.is_dir():
        return []
    size = shutil.disk_usage(SHARED).total / GB
    said = f"{size:.2f} GB of shared memory"
    if size < SHARED_GB:
        return [warn("shared_memory", said, "start the container with --shm-size=2g")]
    return [passed("shared_memory", said)]


def _grade_disk(use: str, free: float) -> Finding:
    low, good = DISK_GB
    said = f"{free:.0f} GB free for {use}"
    if free < low:
        return fail("disk", said, f"free at least {good:g} GB, or move the folder to another disk")
    if free < good:
        return warn("disk", said, f"free {good:g} GB before a long run")
    return passed("disk", said)


def _existing(folder: Path) -> Path:
    """Return the folder or the nearest parent of which this user sees that it exists."""
    folder = folder.resolve()
    return next(part for part in (folder, *folder.parents) if os.path.exists(part))  # Path.exists() may raise


def _container_limit() -> float:
    try:
        return float(CGROUP_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max": there is no limit
        return float("inf")
