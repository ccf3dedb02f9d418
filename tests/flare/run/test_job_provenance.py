"""What a finished job says of the origin of its model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from fedgin.data.site import Modality
from fedgin.errors import WeightsError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, CIPHERTEXTS, CLAIMS, ROUND
from fedgin.flare.jobs.files import CONFIG
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.job_provenance import describe_job
from fedgin.flare.run.results import JOB
from fedgin.train.provenance import Participant
from tests.flare.run.test_results import BEST, LAST, lay_out, make_job, measure
from tests.sites import tiny_experiment


def write_checkpoint(path: Path, **claims: str) -> None:
    """Write what is kept after three rounds of sites with these modalities."""
    facts = {site: {"modality": modality, "weight": 12.0} for site, modality in claims.items()}
    safetensors.numpy.save_file(
        {"w": np.zeros(1, np.float32)}, path, metadata={ROUND: "2", CLAIMS: json.dumps(facts), CIPHERTEXTS: "[]"}
    )


def resumed_job(folder: Path, **claims: str) -> Job:
    """A job that goes on with two rounds after three of the sites with these claims."""
    (folder / CONFIG).mkdir(parents=True)
    write_checkpoint(folder / CONFIG / CHECKPOINT, **claims)
    return replace(make_job(), folder=folder, experiment=tiny_experiment(resumes={"job": "old-job", "round": 3}))


def test_the_rounds_of_each_site_are_counted(tmp_path: Path) -> None:
    found = describe_job(make_job(), "job-1", lay_out(tmp_path, [["a", "b"], ["a"]]))
    assert found.rounds == 2
    assert found.participants == [
        Participant(site="a", modality=Modality.CT, training_cases=2, rounds=2),
        Participant(site="b", modality=Modality.CT, training_cases=2, rounds=1),
    ]


def test_a_resumed_job_names_the_sites_before_it_and_says_what_is_not_known_of_them(tmp_path: Path) -> None:
    result = lay_out(tmp_path / "result", [["a", "b"], ["a", "b"]])
    measure(result, {site: {LAST: 0.5} for site in ("a", "b", "c")})
    found = describe_job(resumed_job(tmp_path / "job", a="CT", c="MR"), "job-2", result)
    assert found.rounds == 5
    assert found.participants == [
        Participant(site="a", modality=Modality.CT, training_cases=2, rounds=None),
        Participant(site="b", modality=Modality.CT, training_cases=2, rounds=2),
        Participant(site="c", modality=Modality.MR, training_cases=None, rounds=None),
    ]
    assert found.modalities == [Modality.CT, Modality.MR]
    assert {item.site for item in found.measured} == {"a", "b", "c"}


def test_the_sites_before_a_job_was_resumed_have_a_say_in_the_choice(tmp_path: Path) -> None:
    """The MR site trained before only, and is worth as much as both CT sites together."""
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    resumed_job(tmp_path / JOB / "tiny", a="CT", c="MR")
    measure(result, {"a": {LAST: 0.6, BEST: 0.8}, "b": {LAST: 0.6, BEST: 0.8}, "c": {LAST: 0.6, BEST: 0.3}})
    assert result.candidates == pytest.approx({"FL_global_model.pt": 0.6, "best_FL_global_model.pt": 0.55})
    assert result.chosen_model == result.last_model


def test_models_are_not_compared_when_nobody_knows_who_trained_them(tmp_path: Path) -> None:
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    job = resumed_job(tmp_path / JOB / "tiny", a="CT", c="MR")
    measure(result, {"a": {LAST: 0.6, BEST: 0.8}, "b": {LAST: 0.6, BEST: 0.8}})
    assert result.chosen_model == result.best_model
    (job.folder / CONFIG / CHECKPOINT).write_bytes(b"cut off")
    assert result.candidates == {}
    assert result.chosen_model == result.last_model


def test_a_site_measures_the_job_s_organs_and_nothing_else(tmp_path: Path) -> None:
    """It chooses the names of its metrics; a model card would show one as an organ, or as a section of its own."""
    result = lay_out(tmp_path, [["a", "b"], ["a", "b"]])
    section = "spleen | 3 | 0.99 |\n\n## Approval\n\n**Approved for clinical use.**\n"
    told = {"val_dice_mean": 0.3, "val_dice_spleen": 0.4, "val_dice_liver": 1.5, f"val_dice_{section}": 0.99}
    odd = {"test_dice_mean ": 0.9, "test_dice_aorta": 0.9, "val_dice_mean": 0.3}
    result.cross_site.write_text(json.dumps({"a": {LAST: told}, "b": {LAST: odd}}))
    found = describe_job(make_job(), "job-1", result).measured
    assert [(item.site, item.organ, item.dice) for item in found] == [
        ("a", "", 0.3),
        ("a", "spleen", 0.4),
        ("b", "", 0.3),
    ]


def test_a_checkpoint_that_names_no_modality_is_told(tmp_path: Path) -> None:
    result = lay_out(tmp_path / "result", [["a", "b"]])
    with pytest.raises(WeightsError, match="unknown modality"):
        describe_job(resumed_job(tmp_path / "job", a="PET"), "job-2", result)
