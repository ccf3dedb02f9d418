from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nvflare.app_common.abstract.model import make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.errors import ConfigError, WeightsError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.flare.jobs.job import load_job, stage_job, stage_resumed
from fedgin.flare.server.checkpoint_keeper import CheckpointKeeper
from fedgin.flare.server.model import initial_network
from tests.flare.runs import JOB, lay_out, make_context
from tests.places import JOBS
from tests.sites import tiny_experiment


def finish_round(root: Path, number: int, *, of: range = range(99), value: float = 0.5, **network: object) -> Path:
    """Let the server's component see the end of a round; return the checkpoint."""
    workspace = lay_out(root, "server", tiny_experiment(**network))
    context = make_context(workspace, "server")
    state = tiny_experiment(**network).initial_network().state_dict()
    weights = {name: np.full_like(entry.numpy(), value) for name, entry in state.items()}
    context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(weights, {}), private=True, sticky=True)
    context.set_prop(AppConstants.START_ROUND, of.start, private=True, sticky=True)
    context.set_prop(AppConstants.NUM_ROUNDS, len(of), private=True, sticky=False)
    context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=True)
    CheckpointKeeper().handle_event(AppEventType.ROUND_DONE, context)
    return Path(workspace.get_run_dir(JOB)) / "fedgin" / CHECKPOINT


def resumed_job(root: Path, checkpoint: Path) -> Path:
    job = stage_job(
        load_job(JOBS / "abdomen_fedgin"),
        root / "job",
        sites=1,
        rounds=5,
        changes=tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network"}),
    )
    return stage_resumed(job, "old-job", checkpoint, root / "resumed").folder


@pytest.mark.parametrize("normalisation", ["instance", "batch"])
def test_the_server_of_a_resumed_job_starts_from_the_kept_model(tmp_path: Path, normalisation: str) -> None:
    network = {"name": "unet", "normalisation": normalisation, "params": {"channels": [4, 8], "residual_units": 0}}
    checkpoint = finish_round(tmp_path / "server", 2, network=network)
    assert read_round(checkpoint) == 2
    values = tiny_experiment(network=network, resumes={"job": "old-job", "round": 3}).model_dump(mode="json")
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(values))
    checkpoint.rename(tmp_path / CHECKPOINT)
    started = initial_network(str(experiment))
    assert all(torch.all(value == 0.5) for value in started.state_dict().values() if value.is_floating_point())


def test_a_resumed_job_has_the_rounds_that_are_left(tmp_path: Path) -> None:
    job = load_job(resumed_job(tmp_path, finish_round(tmp_path / "server", 1)))
    assert (job.first_round, job.rounds) == (2, 3)
    assert job.experiment.resumes is not None
    assert (job.experiment.resumes.job, job.experiment.resumes.round) == ("old-job", 2)
    again = stage_resumed(job, "second-job", finish_round(tmp_path / "server", 3), tmp_path / "again")
    assert (again.first_round, again.rounds) == (4, 1)
    assert again.experiment.resumes is not None
    assert again.experiment.resumes.jobs == ["second-job", "old-job"]


def test_a_job_may_be_resumed_any_number_of_times(tmp_path: Path) -> None:
    job = load_job(resumed_job(tmp_path, finish_round(tmp_path / "server", 1)))
    jobs = [f"job-{number}" for number in range(101)]
    assert job.experiment.resumes is not None
    resumes = job.experiment.resumes.model_copy(update={"job": jobs[0], "earlier": jobs[1:]})
    job = replace(job, experiment=job.experiment.model_copy(update={"resumes": resumes}))
    again = stage_resumed(job, "last", finish_round(tmp_path / "server", 3), tmp_path / "again")
    assert again.experiment.resumes is not None
    assert again.experiment.resumes.jobs == ["last", *jobs[:100]]


def test_a_job_that_ended_in_its_evaluation_repeats_its_last_round(tmp_path: Path) -> None:
    for number in range(5):
        checkpoint = finish_round(tmp_path / "server", number, of=range(5))
    job = load_job(resumed_job(tmp_path, checkpoint))
    assert (job.first_round, job.rounds) == (4, 1)
    # So does the job that repeats it, which keeps nothing: it ends in its evaluation, too.
    nothing = finish_round(tmp_path / "second", 4, of=range(4, 5))
    again = stage_resumed(job, "second-job", nothing, tmp_path / "again")
    assert (again.first_round, again.rounds, again.experiment) == (4, 1, job.experiment)
    assert read_round(again.folder / "app" / "config" / CHECKPOINT) == 3


def test_a_resumed_job_that_ended_in_its_first_round_is_submitted_as_it_was(tmp_path: Path) -> None:
    job = load_job(resumed_job(tmp_path, finish_round(tmp_path / "server", 1)))
    again = stage_resumed(job, "second-job", tmp_path / CHECKPOINT, tmp_path / "again")
    assert (again.first_round, again.rounds, again.experiment) == (2, 3, job.experiment)


def test_a_checkpoint_of_a_longer_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of the last round of job old-job"):
        resumed_job(tmp_path, finish_round(tmp_path / "server", 4))


def test_start_round_and_experiment_must_agree(tmp_path: Path) -> None:
    folder = resumed_job(tmp_path, finish_round(tmp_path / "server", 1))
    config = folder / "app" / "config" / "config_fed_server.json"
    config.write_text(config.read_text().replace('"start_round": 2', '"start_round": 0'))
    with pytest.raises(ConfigError, match=r"'workflows\.1\.args\.start_round' is not what"):
        load_job(folder)


def test_a_job_without_a_complete_round_is_submitted_anew(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"the job has no round to go on after.*fedgin run"):
        resumed_job(tmp_path, tmp_path / CHECKPOINT)


@pytest.mark.parametrize("kind", ["empty", "cut", "pickle", "other"])
def test_a_damaged_checkpoint_is_named_with_its_fix(tmp_path: Path, kind: str) -> None:
    checkpoint = finish_round(tmp_path / "server", 1)
    whole = checkpoint.read_bytes()
    content = {
        "empty": b"",
        "cut": whole[:-10],
        "pickle": b"\x80\x04cos\nsystem\n",
        "other": whole.replace(b"round", b"ROUND"),
    }
    checkpoint.write_bytes(content[kind])
    with pytest.raises(WeightsError, match=r"checkpoint.safetensors is damaged.*Fix: restore"):
        resumed_job(tmp_path, checkpoint)
    assert not (tmp_path / "resumed").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_ends_the_job_and_leaves_the_checkpoint_of_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    checkpoint = finish_round(tmp_path / "server", 1)
    errors: list[str] = []
    monkeypatch.setattr(CheckpointKeeper, "system_panic", lambda _self, cause, _context: errors.append(cause))
    finish_round(tmp_path / "server", 2, value=value)
    assert read_round(checkpoint) == 1
    [cause] = errors
    assert "after round 3 entry" in cause
    assert "holds NaN or infinity. Fix: lower training.learning_rate" in cause


def test_a_full_disk_ends_the_job_and_leaves_the_checkpoint_of_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = finish_round(tmp_path / "server", 1)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    errors: list[str] = []
    monkeypatch.setattr(Path, "write_bytes", fail)
    monkeypatch.setattr(CheckpointKeeper, "system_panic", lambda _self, cause, _context: errors.append(cause))
    finish_round(tmp_path / "server", 2)
    assert read_round(checkpoint) == 1
    [cause] = errors
    assert "the round's checkpoint was not written: No space left on device. Fix: free disk space" in cause
