"""An encrypted job on a provisioned federation: real processes with TLS on loopback, real keys, real ciphertexts."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.data.site import load_site
from fedgin.flare.job import Job, load_job, stage_job
from fedgin.flare.provisioning.plan import Role
from fedgin.flare.results import RunResult
from fedgin.train.checkpoint import load_checkpoint, travelling_weights
from poc.federation import LocalFederation, provision, running
from tests.sites import tiny_experiment, write_site

JOBS = Path(__file__).resolve().parents[2] / "jobs"
SITES = {"ct-a": "CT", "ct-b": "CT", "mr-a": "MR"}

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    root = tmp_path_factory.mktemp("encrypted")
    sites = {name: load_site(write_site(root / "data" / name, name, kind)) for name, kind in SITES.items()}
    with running(provision(sites, root / "federation", encryption_key=1), list(SITES)) as made:
        yield made


def run(federation: LocalFederation, name: str, folder: Path) -> tuple[Job, RunResult]:
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "training"})
    job = stage_job(load_job(JOBS / name), folder / "job" / name, sites=3, rounds=2, changes=tiny)
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
