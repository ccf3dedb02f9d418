"""The check for a GPU runs on the CPU as well; what it says of a GPU nobody has seen yet."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from benchmarks.gpu import PATCH, check_draws, check_networks, measure_jobs
from fedgin.augment.hooks import Guide

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


@pytest.mark.parametrize("broken", [0, 1])
def test_a_view_that_is_no_number_on_the_device_fails_whichever_it_is(
    monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    calls = itertools.count()

    def views(image: Tensor, guide: Guide, *, gen: torch.Generator, body: Tensor) -> list[Tensor]:
        found = [image, image]
        if next(calls) == 1:  # the device's turn
            found[broken] = torch.full_like(image, math.nan)
        return found

    monkeypatch.setattr("benchmarks.gpu.build_augmentation", lambda name: SimpleNamespace(guided_views=views))
    first = check_draws(CPU, ["broken"])[0]
    assert not first.passed
    assert "differs by nan" in first.measured
