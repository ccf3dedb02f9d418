"""What the benchmark of larger federations reads from the kernel and from FLARE's log."""

import os
from pathlib import Path

import psutil
import pytest

from benchmarks._rounds import round_seconds
from benchmarks.scale import Load, megabytes_a_site, read_memory

LOG = """\
2026-11-29 08:00:00,250 - ScatterAndGather - INFO - [identity=localhost, run=1] - Round 0 started.
2026-11-29 08:00:01,000 - ScatterAndGather - INFO - [identity=localhost, run=1] - Round 0 finished.
2026-11-29 08:00:02,750 - ScatterAndGather - INFO - [identity=localhost, run=1] - Round 1 started.
2026-11-29 08:01:02,000 - ScatterAndGather - INFO - [identity=localhost, run=1] - Round 2 started.
"""


def test_a_round_ends_where_the_next_one_starts() -> None:
    assert round_seconds(LOG) == [2.5, 59.25]


def test_memory_is_the_kernels_count_in_megabytes() -> None:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    assert read_memory(status, "VmRSS") == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.05)
    assert read_memory(status, "VmHWM") >= read_memory(status, "VmRSS")


def test_what_a_further_site_needs_is_told_by_the_peaks_of_both_processes() -> None:
    few, many = Load(3, 8.0, 0.0, 400.0, 100.0, 1.0), Load(13, 8.0, 0.0, 410.0, 115.0, 1.0)
    assert megabytes_a_site(few, many) == 2.5
