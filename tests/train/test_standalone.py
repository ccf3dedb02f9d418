from pathlib import Path
from typing import Any

import pytest
import torch

from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.errors import ConfigError
from fedgin.train.experiment import Experiment
from fedgin.train.standalone import StandaloneRun, train_standalone
from tests.sites import tiny_experiment, write_site

CPU = torch.device("cpu")


def run(folder: Path, rounds: int, stop_after: int | None = None, **changes: Any) -> torch.Tensor:
    experiment: Experiment = tiny_experiment(**changes)
    site = folder / "data" / "site.yaml"
    if not site.exists():
        write_site(folder / "data", "site-1", "MR")
    data = prepare_site(load_site(site), experiment.preprocessing, experiment.organs)

    def interrupt(_network: object, number: int, _result: object) -> None:
        if number == stop_after:
            raise KeyboardInterrupt

    plan = StandaloneRun("site-1", data.cases[Split.TRAINING], rounds, folder / "alone.pt")
    network = train_standalone(experiment, plan, CPU, after_round=interrupt)
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def test_a_run_that_was_cut_off_ends_where_the_whole_one_does(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 4)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 4, stop_after=1)
    assert torch.equal(run(tmp_path / "cut", 4), whole)


@pytest.mark.parametrize(
    ("rounds", "changes"), [(2, {"seed": 7}), (2, {"augmentation": {"name": "gin"}}), (3, {})], ids=str
)
def test_no_training_goes_on_with_the_weights_of_another(tmp_path: Path, rounds: int, changes: dict[str, Any]) -> None:
    run(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"alone\.pt is of another training"):
        run(tmp_path, rounds, **changes)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path, 2)
    assert torch.equal(run(tmp_path, 2, stop_after=0), first)
