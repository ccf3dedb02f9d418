"""The check for a GPU runs on the CPU as well; what it says of a GPU nobody has seen yet."""

from pathlib import Path

import torch

from benchmarks.gpu import PATCH, check_draws, check_networks, measure_jobs

CPU = torch.device("cpu")


def test_what_it_checks_on_a_gpu_passes_on_the_cpu(tmp_path: Path) -> None:
    checks = check_networks(tmp_path, CPU, ["unet", "segresnet_ds"])
    checks += [*check_draws(CPU, ["gin", "slaug"]), *measure_jobs(tmp_path, CPU, steps=1, patch=PATCH)]
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 4 + 4 + 2


def test_what_fails_is_said_and_does_not_hide_the_rest() -> None:
    first, *_, last = check_draws(CPU, ["nothing", "none"])
    assert (first.passed, last.passed) == (False, True)
    assert "unknown augmentation 'nothing'" in first.measured
