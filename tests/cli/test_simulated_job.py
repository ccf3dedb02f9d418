"""What ``fedgin simulate`` leaves beside FLARE's own files."""

from pathlib import Path

import pytest

from fedgin.cli import simulated_job
from fedgin.flare.run.simulation import SIMULATED
from fedgin.train.provenance import read_provenance
from tests.flare.run.test_results import lay_out, make_job


def test_a_simulation_is_no_real_federation_and_is_named_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLARE's simulator calls every job the same."""

    def simulate(job: object, sites: object, workspace: Path, **options: object) -> None:
        lay_out(workspace / "server" / SIMULATED, [["a", "b"]] * 2)

    monkeypatch.setattr(simulated_job, "simulate", simulate)
    for name in ("first", "second"):
        simulated_job.simulate_to_end(make_job(), {}, tmp_path / name, threads=1)
        found = read_provenance(tmp_path / name)
        assert (found.kind, found.run) == ("federated in the simulator", name)
