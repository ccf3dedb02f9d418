import os

import pytest

from fedgin.flare.run.simulation import _variables
from fedgin.processes import MALLOC_ARENAS


def test_the_simulator_has_a_kits_limit_of_arenas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert _variables(2)["MALLOC_ARENA_MAX"] == MALLOC_ARENAS


def test_whoever_starts_it_may_choose_another_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert _variables(2)["MALLOC_ARENA_MAX"] == "2"


@pytest.mark.parametrize(("cores", "sites", "threads"), [(8, 3, "2"), (2, 8, "1"), (None, 2, "1")])
def test_sites_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int | None, sites: int, threads: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    found = _variables(sites)
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == (threads, threads)
