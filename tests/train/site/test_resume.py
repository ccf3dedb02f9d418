import copy
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedgin.data.site import load_site
from fedgin.errors import ConfigError, WeightsError
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import Experiment, Resumed
from fedgin.train.site.resume import MADE_BY, open_folder
from fedgin.train.site.session import SiteSession
from tests.sites import tiny_experiment, write_site

SITES = {"ct": "CT", "mr": "MR"}
ROUNDS = 4


class Federation:
    """Two sites, the plain mean, and a folder for each run of a site."""

    def __init__(self, root: Path, normalisation: str) -> None:
        self.root = root
        network = {"name": "unet", "normalisation": normalisation, "params": {"channels": [4, 8], "residual_units": 0}}
        self.experiment = tiny_experiment(network=network)
        self.contracts = {name: load_site(write_site(root / name, name, kind)) for name, kind in SITES.items()}
        self.initial = averaged_weights(self.experiment.initial_network())

    def open(self, name: str, run: str, experiment: Experiment) -> SiteSession:
        runs = self.root / "kits" / name
        open_folder(experiment, runs / run / "fedgin", runs)
        return SiteSession(experiment, self.contracts[name], runs / run / "fedgin")

    def round(self, run: str, weights: dict[str, Tensor], number: int, experiment: Experiment) -> dict[str, Tensor]:
        """Do one round with new processes everywhere."""
        sessions = [self.open(name, run, experiment) for name in SITES]
        updates = [session.train(weights, number, ROUNDS, stop=lambda: False).difference for session in sessions]
        sent = {key: [update[key] for update in updates if key in update] for key in weights}
        return {key: value + sum(sent[key]) / max(len(sent[key]), 1) for key, value in weights.items()}

    def rounds(
        self, run: str, weights: dict[str, Tensor], first: int, end: int, experiment: Experiment
    ) -> dict[str, Tensor]:
        for number in range(first, end):
            weights = self.round(run, weights, number, experiment)
        return weights

    def copied(self, root: Path) -> "Federation":
        """Return one that goes on from the runs of this one, and leaves them as they are."""
        other = copy.copy(self)
        other.root = root
        shutil.copytree(self.root / "kits", root / "kits")
        return other


Runs = Callable[[str], tuple[Federation, dict[str, Tensor], dict[str, Tensor]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Train what several tests compare and continue, once for each normalisation."""

    @functools.cache
    def run(normalisation: str) -> tuple[Federation, dict[str, Tensor], dict[str, Tensor]]:
        """Return a federation, the result of its whole run, and that of its first one, which ended after two rounds."""
        made = Federation(tmp_path_factory.mktemp(normalisation), normalisation)
        whole = made.rounds("whole", made.initial, 0, ROUNDS, made.experiment)
        return made, whole, made.rounds("first", made.initial, 0, 2, made.experiment)

    return run


@pytest.mark.parametrize("normalisation", ["instance", "dsbn", "fedbn"])
@pytest.mark.parametrize("trained_ahead", [0, 1, 2])
def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, runs: Runs, normalisation: str, trained_ahead: int
) -> None:
    """None, one or both of the sites had finished the round in which the server died."""
    done, whole, kept = runs(normalisation)
    made = done.copied(tmp_path)
    for name in list(SITES)[:trained_ahead]:
        made.open(name, "first", made.experiment).train(kept, 2, ROUNDS, stop=lambda: False)
    resumed = made.experiment.model_copy(update={"resumes": Resumed(job="first", round=2)})
    found = made.rounds("second", kept, 2, 3, resumed)
    again = made.experiment.model_copy(update={"resumes": Resumed(job="second", round=3)})
    found = made.rounds("third", found, 3, ROUNDS, again)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


def test_without_the_kept_optimiser_the_result_is_another(tmp_path: Path, runs: Runs) -> None:
    done, whole, kept = runs("instance")
    made = done.copied(tmp_path)
    found = made.rounds("afresh", kept, 2, ROUNDS, made.experiment)
    assert any(not torch.allclose(found[name], value, atol=1e-4) for name, value in whole.items())


def test_a_site_without_the_earlier_job_is_refused(tmp_path: Path) -> None:
    resumed = tiny_experiment(resumes={"job": "lost", "round": 2})
    with pytest.raises(ConfigError, match=r"nothing of job lost.*Fix: restore the folder lost"):
        open_folder(resumed, tmp_path / "new" / "fedgin", tmp_path)


def test_a_site_that_was_away_goes_on_with_the_latest_job_that_it_has(tmp_path: Path) -> None:
    """It had no part in the second job, which resumed the first; the third one resumes the second."""
    for job, content in (("zeroth", b"0"), ("first", b"1")):
        open_folder(tiny_experiment(), tmp_path / job / "fedgin", tmp_path)
        (tmp_path / job / "fedgin" / "local_model.pt").write_bytes(content)
    (tmp_path / "second").mkdir()
    third = tiny_experiment(resumes={"job": "second", "round": 6, "earlier": ["first", "zeroth"]})
    open_folder(third, tmp_path / "third" / "fedgin", tmp_path)
    assert (tmp_path / "third" / "fedgin" / "local_model.pt").read_bytes() == b"1"


def test_the_earlier_folder_stays_and_the_own_one_is_not_overwritten(tmp_path: Path) -> None:
    earlier, folder = tmp_path / "old" / "fedgin", tmp_path / "new" / "fedgin"
    open_folder(tiny_experiment(), earlier, tmp_path)
    folder.parent.mkdir()
    (earlier / "local_model.pt").write_bytes(b"old")
    resumed = tiny_experiment(resumes={"job": "old", "round": 2})
    open_folder(resumed, folder, tmp_path)
    assert (folder / "local_model.pt").read_bytes() == b"old"
    (folder / "local_model.pt").write_bytes(b"new")
    open_folder(resumed, folder, tmp_path)
    assert (folder / "local_model.pt").read_bytes() == b"new"
    assert (earlier / "local_model.pt").read_bytes() == b"old"


FEDBN = {"name": "unet", "normalisation": "fedbn", "params": {"channels": [4, 8], "residual_units": 0}}


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"federation": {"homomorphic_encryption": True}}, {}),
        ({"network": FEDBN}, {"network": FEDBN | {"normalisation": "batch"}}),
    ],
)
def test_a_job_cannot_take_over_what_another_experiment_keeps_at_the_site(
    tmp_path: Path, first: dict[str, Any], other: dict[str, Any]
) -> None:
    """The encrypted job's local model, or the layers that stay, would leave with the next 'submit_model'."""
    open_folder(tiny_experiment(**first), tmp_path / "first" / "fedgin", tmp_path)
    new = tmp_path / "new" / "fedgin"
    with pytest.raises(ConfigError, match=r"has kept of job first is of another experiment. Fix: .*fedgin resume"):
        open_folder(tiny_experiment(**other, resumes={"job": "first", "round": 1}), new, tmp_path)
    assert not new.exists()
    open_folder(tiny_experiment(**first, resumes={"job": "first", "round": 1}), new, tmp_path)
    with pytest.raises(ConfigError, match="has kept of job new is of another experiment"):
        open_folder(tiny_experiment(**other), new, tmp_path)


@pytest.mark.parametrize("mark", [None, b"", b"\xff"])
def test_a_folder_that_does_not_say_whose_it_is_is_nobody_s(tmp_path: Path, mark: bytes | None) -> None:
    (tmp_path / "first" / "fedgin").mkdir(parents=True)
    if mark is not None:
        (tmp_path / "first" / "fedgin" / MADE_BY).write_bytes(mark)
    with pytest.raises(ConfigError, match="of another experiment"):
        open_folder(tiny_experiment(resumes={"job": "first", "round": 1}), tmp_path / "new" / "fedgin", tmp_path)


def test_what_a_folder_keeps_of_nobody_is_not_the_next_job_s(tmp_path: Path) -> None:
    folder = tmp_path / "first" / "fedgin"
    folder.mkdir(parents=True)
    (folder / ".part-0-experiment.sha256").touch()  # of a process that was killed
    open_folder(tiny_experiment(), folder, tmp_path)
    (folder / "local_model.pt").touch()
    (folder / MADE_BY).unlink()
    with pytest.raises(ConfigError, match="what this site has kept of job first is of another experiment"):
        open_folder(tiny_experiment(), folder, tmp_path)


@pytest.mark.parametrize("job", ["../old", "a/b", "", "."])
def test_the_job_to_resume_cannot_be_a_path(job: str) -> None:
    with pytest.raises(ValueError, match="job"):
        Resumed(job=job, round=1)
    with pytest.raises(ValueError, match="earlier"):
        Resumed(job="last", round=1, earlier=[job])


@pytest.mark.parametrize("content", [b"", b"damaged", b"\x80\x04cos\nsystem\n"])
def test_a_damaged_optimiser_is_named_and_nothing_is_lost(tmp_path: Path, content: bytes) -> None:
    made = Federation(tmp_path, "instance")
    kept = made.rounds("first", made.initial, 0, 1, made.experiment)
    folder = tmp_path / "kits" / "mr" / "first" / "fedgin"
    (folder / "optimizer_round_0000.pt").write_bytes(content)
    local = (folder / "local_model.pt").read_bytes()
    with pytest.raises(WeightsError, match=r"optimizer_round_0000.pt is damaged.*Fix: restore it"):
        made.open("mr", "first", made.experiment).train(kept, 1, ROUNDS, stop=lambda: False)
    assert (folder / "local_model.pt").read_bytes() == local
