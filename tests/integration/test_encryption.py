"""An encrypted job on a provisioned federation: real processes with TLS on loopback, real keys, real ciphertexts."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.flare.jobs.job import Job
from fedgin.flare.provisioning.federation import Role
from fedgin.flare.run.console import connect, submit
from fedgin.flare.run.follow import follow
from fedgin.flare.run.results import RoundMetrics, RunResult
from fedgin.flare.run.simulation import simulate
from fedgin.train.checkpoint import averaged_weights, load_checkpoint
from poc.federation import LocalFederation
from tests.integration.three_sites import SITES, contracts, federation_of_three, stage_tiny
from tests.sites import tiny_volumes

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    with federation_of_three(tmp_path_factory.mktemp("encrypted"), encryption_key=1) as made:
        yield made


def call(*arguments: object) -> None:
    """Run a verb of the command line."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, f"{done.output} {done.exception}"


def run(federation: LocalFederation, name: str, folder: Path) -> tuple[Job, RunResult]:
    # More weights than a ciphertext holds, and more than one ciphertext for some.
    network = {"name": "unet", "params": {"channels": [8, 16, 32], "residual_units": 1}}
    job = stage_tiny(name, folder / "job" / name, network=network)
    call("run", job.folder, "--kit", federation.admin(Role.LEAD), "--out", folder / "out" / name)
    return job, RunResult(folder / "out" / name)


def decrypt(federation: LocalFederation, job: Job, result: RunResult, out: Path) -> dict[str, torch.Tensor]:
    """Read the last model as an engineer of a site does; nobody else can."""
    stored = load_checkpoint(result.last_model, "model")["model"]
    names = averaged_weights(job.experiment.initial_network()).keys()
    assert all(isinstance(stored[name], bytes) for name in names)
    experiment = job.folder / "app" / "config" / "experiment.yaml"
    kit = federation.kit("mr-a")
    call("site", "decrypt", result.last_model, "--experiment", experiment, "--kit", kit, "--out", out)
    return dict(load_checkpoint(out, "model")["model"])


def check_model(found: dict[str, torch.Tensor], plain: RunResult, job: Job) -> None:
    """Compare with the plain job's.

    CKKS is approximate: an error of 1e-7 in the first round's mean, which a round of AdamW makes larger.
    """
    expected = load_checkpoint(plain.last_model, "model")["model"]
    before = averaged_weights(job.experiment.initial_network())
    assert distance(found, expected, before) < 0.01 * distance(expected, before, before)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], names: Mapping[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in names))


def test_an_encrypted_job_gives_the_plain_job_s_model_to_sites_alone(
    federation: LocalFederation, tmp_path: Path
) -> None:
    _, plain = run(federation, "abdomen_fedgin", tmp_path)
    job, result = run(federation, "abdomen_fedgin_encrypted", tmp_path)
    assert result.measurers == set(SITES)
    check_model(decrypt(federation, job, result, tmp_path / "model.pt"), plain, job)
    assert result.candidates == pytest.approx(plain.candidates, abs=0.01)


class Left(Exception):  # noqa: N818
    """Leaves the console while the job runs."""


def leave(metrics: RoundMetrics) -> None:
    raise Left


def test_an_encrypted_job_that_was_aborted_goes_on_with_ciphertexts(
    federation: LocalFederation, tmp_path: Path
) -> None:
    """On volumes, with BatchNorm, whose counters are in the server's model, sent by nobody, and never encrypted."""
    volumes = tiny_volumes(training={"local_steps": 10, "batch_size": 4}).model_dump(mode="json")
    network = {"name": "unet", "normalisation": "batch", "params": {"channels": [4, 8], "residual_units": 0}}
    changes = {"preprocessing": volumes["preprocessing"], "training": volumes["training"], "network": network}
    plain_job = stage_tiny("abdomen_fedgin", tmp_path / "plain", rounds=3, **changes)
    plain = simulate(plain_job, contracts(tmp_path / "data"), tmp_path / "simulated")
    job = stage_tiny("abdomen_fedgin_encrypted", tmp_path / "encrypted", rounds=3, **changes)
    kit = federation.admin(Role.LEAD)
    with connect(kit) as session:
        job_id = submit(session, job)
        with contextlib.suppress(Left):
            follow(session, job_id, on_status=lambda text: None, on_round=leave)
        session.abort_job(job_id)
        status = session.monitor_job_and_return_job_meta(job_id)[1]["status"]
    assert status == "FINISHED:ABORTED"
    call("resume", job_id, "--kit", kit, "--out", tmp_path / "out")
    result = RunResult(tmp_path / "out")
    assert result.rounds[-1].number == 2
    assert result.rounds[0].number > 0
    check_model(decrypt(federation, job, result, tmp_path / "model.pt"), plain, job)
