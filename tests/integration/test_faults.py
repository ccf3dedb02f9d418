"""What docs/faults.md says of killed processes: a provisioned federation of real processes, TLS on loopback."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.site import load_site
from fedgin.flare.console import connect, connected_sites, fetch, follow, submit
from fedgin.flare.job import Job, load_job, stage_job
from fedgin.flare.provisioning.plan import Role
from fedgin.flare.results import RoundMetrics, RunResult
from fedgin.flare.simulation import simulate
from fedgin.train.checkpoint import load_checkpoint
from poc.federation import SERVER, LocalFederation, provision, running
from tests.sites import tiny_experiment, write_site

JOBS = Path(__file__).resolve().parents[2] / "jobs"
SITES = {"ct-a": "CT", "mr-a": "MR"}
ROUNDS = 5

pytestmark = pytest.mark.flare


@dataclass(frozen=True)
class Setting:
    """A running federation, a job for it, and the model that the job makes when nothing happens."""

    federation: LocalFederation
    job: Job
    undisturbed: dict[str, Tensor]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    root = tmp_path_factory.mktemp("faults")
    sites = {name: load_site(write_site(root / "data" / name, name, kind)) for name, kind in SITES.items()}
    tiny = tiny_experiment(training={"local_steps": 100, "batch_size": 4})
    changes = tiny.model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    job = stage_job(load_job(JOBS / "abdomen_fedgin"), root / "tiny", sites=2, rounds=ROUNDS, changes=changes)
    undisturbed = load_checkpoint(simulate(job, sites, root / "simulated").last_model)["model"]
    with running(provision(sites, root / "federation"), list(SITES)) as made:
        yield Setting(made, job, undisturbed)


class RoundReached(Exception):  # noqa: N818
    """Leaves the console while the job runs."""


def leave(metrics: RoundMetrics) -> None:
    if metrics.number == 1:
        raise RoundReached


def start(setting: Setting, on_round: Callable[[RoundMetrics], None]) -> tuple[str, dict[str, Any]]:
    """Submit the job and follow it; return its id and, where it was followed to its end, FLARE's record."""
    with connect(setting.federation.admin(Role.LEAD)) as session:
        job_id = submit(session, setting.job)
        try:
            return job_id, follow(session, job_id, on_status=lambda text: None, on_round=on_round)
        except RoundReached:
            return job_id, {}


def trainer(federation: LocalFederation, site: str) -> psutil.Process:
    """Return the process in which a site trains."""
    [found] = [child for child in federation.family(site) if "fedgin.train.worker" in child.cmdline()]
    return found


def check_resumed(setting: Setting, job_id: str, out: Path) -> None:
    """Resume a job with the documented command; the model must be the undisturbed one."""
    kit = setting.federation.admin(Role.LEAD)
    done = CliRunner().invoke(app, ["resume", job_id, "--kit", str(kit), "--out", str(out)])
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    first = int(done.output.split(" rounds were complete")[0])
    assert first >= 2
    assert [metrics.number for metrics in RunResult(out).rounds] == list(range(first, ROUNDS))
    check_model(setting, RunResult(out))


def check_model(setting: Setting, result: RunResult) -> None:
    found = load_checkpoint(result.last_model)["model"]
    assert found.keys() == setting.undisturbed.keys()
    for name, value in setting.undisturbed.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


def test_a_killed_training_process_costs_one_repetition(setting: Setting, tmp_path: Path) -> None:
    def kill(metrics: RoundMetrics) -> None:
        if metrics.number == 1:
            trainer(setting.federation, "ct-a").kill()

    job_id, meta = start(setting, kill)
    assert meta["status"] == "FINISHED:COMPLETED"
    assert "the training process was ended by SIGKILL" in setting.federation.log("ct-a")
    with connect(setting.federation.admin(Role.LEAD)) as session:
        check_model(setting, fetch(session, job_id, tmp_path / "out"))


def test_a_job_whose_site_was_killed_is_resumed(setting: Setting, tmp_path: Path) -> None:
    def kill(metrics: RoundMetrics) -> None:
        if metrics.number == 1:
            process = trainer(setting.federation, "mr-a").parent()
            assert process is not None
            process.kill()

    job_id, meta = start(setting, kill)
    assert meta["status"] == "FINISHED:EXECUTION_EXCEPTION"
    check_resumed(setting, job_id, tmp_path / "out")


def test_a_job_whose_server_was_killed_is_resumed(setting: Setting, tmp_path: Path) -> None:
    job_id, _ = start(setting, leave)
    setting.federation.kill(SERVER)
    setting.federation.start(SERVER)
    setting.federation.wait_for_log(SERVER, "Server started")
    with connect(setting.federation.admin(Role.LEAD)) as session:
        assert session.get_job_meta(job_id)["status"] == "FINISHED:ABNORMAL"
        while set(connected_sites(session)) != set(SITES):
            time.sleep(0.5)
    check_resumed(setting, job_id, tmp_path / "out")
