"""A site scores a bundle's model on its test cases: the same numbers as the final evaluation of a training job."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedgin.data.cache import CachedCase
from fedgin.data.limits import LimitError, Limits
from fedgin.data.regions import find_regions
from fedgin.data.site import load_site
from fedgin.errors import ConfigError, DataError, WeightsError
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.evaluate.evaluator import Segmentation, segment
from fedgin.train.evaluate.scores import read_scores
from fedgin.train.evaluate.site_scores import SiteScores
from fedgin.train.experiment import EVALUATED_MODEL, Experiment
from fedgin.train.site.evaluation import SiteEvaluation
from fedgin.train.site.session import SiteSession
from fedgin.train.site.update import InterruptedTaskError
from tests.flare.jobs.evaluation_jobs import evaluating, write_model
from tests.sites import tiny_experiment, write_site


def never() -> bool:
    return False


def open_evaluation(folder: Path, experiment: Experiment | None = None, tests: int = 3) -> SiteEvaluation:
    experiment = experiment or evaluating()
    path = folder / "data" / "site.yaml"
    if not path.exists():
        write_site(folder / "data", "site-1", "MR", counts=(1, 1, tests))
    write_model(folder / EVALUATED_MODEL, experiment)
    return SiteEvaluation(experiment, load_site(path), folder / "run", folder / EVALUATED_MODEL)


def model() -> dict[str, Tensor]:
    return averaged_weights(tiny_experiment().initial_network())


@pytest.mark.parametrize("one_piece", [[], ["liver", "spleen"]])
def test_the_scores_are_those_of_the_final_evaluation_of_a_training_job(tmp_path: Path, one_piece: list[str]) -> None:
    changes: dict[str, Any] = {"postprocessing": {"largest_region": one_piece}}
    evaluation = open_evaluation(tmp_path, evaluating(**changes))
    told = []
    answer = evaluation.validate(model(), "it", stop=never, progress=lambda *done: told.append(done))
    found = SiteScores.model_validate(answer)
    session = SiteSession(tiny_experiment(**changes), evaluation.contract, tmp_path / "training")
    metrics = session.validate(model(), "it", stop=never)
    assert found.mean is not None
    assert found.mean.dice.value == pytest.approx(metrics["test_dice_mean"], abs=1e-6)
    for organ in ("liver", "spleen"):
        assert found.organs[organ].dice.value == pytest.approx(metrics[f"test_dice_{organ}"], abs=1e-6)
    assert _all_in_one_piece(evaluation.cases, tiny_experiment(**changes)) == bool(one_piece)
    assert told == [(1, 3), (2, 3), (3, 3)]
    kept = read_scores(tmp_path / "run" / "scores" / "test_of_it.csv")
    assert {(score.split, score.case) for score in kept} == {("test", 1), ("test", 2), ("test", 3)}


def _all_in_one_piece(cases: Sequence[CachedCase], experiment: Experiment) -> bool:
    found: list[Segmentation] = []
    network, kept = experiment.initial_network(), experiment.in_one_piece
    segment(network, cases, torch.device("cpu"), found.append, in_one_piece=kept)
    return all(find_regions(each.predicted == label).count <= 1 for each in found for label in (1, 2))


def test_only_test_cases_are_prepared(tmp_path: Path) -> None:
    write_site(tmp_path / "data", "site-1", "MR", counts=(1, 1, 3))
    (tmp_path / "data" / "case0.nii.gz").write_bytes(b"damaged: a training case")
    assert len(open_evaluation(tmp_path).cases) == 3


def test_a_site_that_only_evaluates_lists_test_cases_alone_and_trains_nothing(tmp_path: Path) -> None:
    write_site(tmp_path / "data", "site-1", "MR", counts=(0, 0, 3))
    evaluation = open_evaluation(tmp_path)
    assert len(evaluation.cases) == 3
    with pytest.raises(DataError, match="site site-1 has no training and no validation case"):
        SiteSession(tiny_experiment(), evaluation.contract, tmp_path / "training")


def test_a_site_without_test_case_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="site site-1 has no test case"):
        open_evaluation(tmp_path, tests=0)


def test_a_site_that_labels_no_organ_of_the_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labels none of aorta"):
        open_evaluation(tmp_path, evaluating(organs=["aorta"]))


def test_layers_of_a_modality_that_was_never_trained_are_not_scored(tmp_path: Path) -> None:
    network = {"name": "dynunet", "normalisation": "dsbn", "params": {"channels": [4, 8, 16]}}
    with pytest.raises(ConfigError, match="those for MR were never trained"):
        open_evaluation(tmp_path, evaluating(network=network))
    assert open_evaluation(tmp_path, evaluating(modality="MR", network=network)).cases


def test_another_model_than_the_signed_one_is_refused(tmp_path: Path) -> None:
    evaluation = open_evaluation(tmp_path)
    other = {name: value + 1e-3 for name, value in model().items()}
    fewer = dict(list(model().items())[1:])
    for weights in (other, fewer, {}):
        with pytest.raises(WeightsError, match="not the one that came with the job"):
            evaluation.validate(weights, "it", stop=never)
    assert not (tmp_path / "run").exists()


def test_a_network_larger_than_the_site_allows_by_now_is_not_scored(tmp_path: Path) -> None:
    evaluation = open_evaluation(tmp_path)
    evaluation.contract = evaluation.contract.model_copy(update={"limits": Limits(parameters=100)})
    with pytest.raises(LimitError, match=r"site site-1: the network has [0-9,]+ weights \(at most 100\)"):
        evaluation.validate(model(), "it", stop=never)


def test_an_abort_keeps_nothing(tmp_path: Path) -> None:
    evaluation = open_evaluation(tmp_path)
    with pytest.raises(InterruptedTaskError):
        evaluation.validate(model(), "it", stop=lambda: True)
    assert not (tmp_path / "run").exists()
