"""An encrypted job on a provisioned federation: real processes with TLS on loopback, real keys, real ciphertexts."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.flare.job import Job
from fedgin.flare.provisioning.plan import Role
from fedgin.flare.results import RunResult
from fedgin.train.checkpoint import load_checkpoint, travelling_weights
from poc.federation import LocalFederation
from tests.integration.three_sites import SITES, federation_of_three, stage_tiny

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    with federation_of_three(tmp_path_factory.mktemp("encrypted"), encryption_key=1) as made:
        yield made


def run(federation: LocalFederation, name: str, folder: Path) -> tuple[Job, RunResult]:
    job = stage_tiny(name, folder / "job" / name)
    arguments = ["run", str(job.folder), "--kit", str(federation.admin(Role.LEAD)), "--out", str(folder / "out" / name)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return job, RunResult(folder / "out" / name)


def test_an_encrypted_job_gives_the_plain_job_s_model_to_sites_alone(
    federation: LocalFederation, tmp_path: Path
) -> None:
    plain_job, plain = run(federation, "abdomen_fedgin", tmp_path)
    job, result = run(federation, "abdomen_fedgin_encrypted", tmp_path)
    names = travelling_weights(job.experiment.initial_network()).keys()
    stored = load_checkpoint(result.last_model, "model")["model"]
    assert all(isinstance(stored[name], bytes) for name in names)
    assert result.measurers == set(SITES)

    model, experiment = tmp_path / "model.pt", job.folder / "app" / "config" / "experiment.yaml"
    arguments = ["--experiment", str(experiment), "--kit", str(federation.kit("mr-a")), "--out", str(model)]
    done = CliRunner().invoke(app, ["site", "decrypt", str(result.last_model), *arguments])
    assert done.exit_code == 0, done.output
    found, expected = load_checkpoint(model, "model")["model"], load_checkpoint(plain.last_model, "model")["model"]
    before = travelling_weights(plain_job.experiment.initial_network())
    # CKKS is approximate: an error of 1e-7 in the first round's mean, which a round of AdamW makes larger.
    assert distance(found, expected) < 0.01 * distance(expected, before)
    assert result.candidates == pytest.approx(plain.candidates, abs=0.01)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in one))
