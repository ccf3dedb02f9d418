"""What leaves a site with DSBN and FedBN, and what a new process finds again."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedgin.data.site import Modality, load_site
from fedgin.errors import WeightsError
from fedgin.nets.dsbn import branch_entries
from fedgin.nets.normalisation import batch_norm_entries
from fedgin.train.checkpoint import averaged_weights, load_checkpoint
from fedgin.train.experiment import Experiment
from fedgin.train.site.sent_entries import local_entries, sent_entries
from fedgin.train.site.session import SiteSession
from fedgin.train.site.state import LOCAL_LAYERS, KeptEntries
from tests.sites import tiny_experiment, write_site

Weights = dict[str, Tensor]


def experiment(normalisation: str) -> Experiment:
    network = {"name": "dynunet", "normalisation": normalisation, "params": {"channels": [4, 8, 16]}}
    return tiny_experiment(network=network)


def open_session(folder: Path, normalisation: str, modality: str = "MR") -> SiteSession:
    path = folder / "data" / "site.yaml"
    if not path.exists():
        write_site(folder / "data", "site-1", modality)
    return SiteSession(experiment(normalisation), load_site(path), folder / "run")


def initial(normalisation: str) -> Weights:
    return {
        name: value.clone() for name, value in averaged_weights(experiment(normalisation).initial_network()).items()
    }


def train(session: SiteSession, weights: Weights, number: int) -> Weights:
    """Train a round; return the next global model of a federation of this site alone."""
    difference = session.train(weights, number, 4, stop=lambda: False).difference
    return {name: value + difference.get(name, 0.0) for name, value in weights.items()}


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("normalisation", ["instance", "batch"])
def test_plain_normalisation_travels_whole(normalisation: str) -> None:
    network = experiment(normalisation).initial_network()
    assert sent_entries(network, normalisation, Modality.CT) == averaged_weights(network).keys()  # type: ignore[arg-type]
    assert local_entries(network, normalisation) == set()  # type: ignore[arg-type]


@pytest.mark.parametrize(("modality", "other"), [("CT", "MR"), ("MR", "CT")])
def test_a_site_sends_its_own_branches_and_leaves_the_others_as_received(
    tmp_path: Path, modality: str, other: str
) -> None:
    session = open_session(tmp_path, "dsbn", modality)
    received = initial("dsbn")
    theirs = branch_entries(session.trainer.network, other) & received.keys()
    for name in theirs:
        received[name] += 0.5
    difference = session.train(received, 0, 4, stop=lambda: False).difference
    assert difference.keys() == received.keys() - theirs
    own = branch_entries(session.trainer.network, modality) & received.keys()
    assert all(bool(difference[name].abs().max() > 0) for name in own if "running" in name)
    assert same({name: session.local_model()[name] for name in theirs}, {name: received[name] for name in theirs})


def test_batch_norm_that_stays_is_not_sent_but_trained(tmp_path: Path) -> None:
    session, received = open_session(tmp_path, "fedbn"), initial("fedbn")
    names = batch_norm_entries(session.trainer.network) & received.keys()
    difference = session.train(received, 0, 4, stop=lambda: False).difference
    assert difference.keys() == received.keys() - names
    assert session.local_model().keys() == received.keys() - names
    kept = load_checkpoint(tmp_path / "run" / LOCAL_LAYERS)["model"]
    assert kept.keys() == names
    assert all(not torch.equal(kept[name], received[name]) for name in names if "running" in name)


def test_a_received_model_does_not_replace_what_stays(tmp_path: Path) -> None:
    """Whatever a server puts into those entries, from the second round on the site trains and tests with its own."""
    updates = []
    for offset in (0.0, 3.0):
        session = open_session(tmp_path / str(offset), "fedbn")
        weights = train(session, initial("fedbn"), 0)
        for name in session.initial_local_layers:
            weights[name] += offset
        metrics = session.validate(weights, "global", stop=lambda: False)
        updates.append((session.train(weights, 1, 4, stop=lambda: False).difference, metrics))
    assert same(updates[0][0], updates[1][0])
    assert repr(updates[0][1]) == repr(updates[1][1])


def test_in_the_first_round_the_received_normalisation_is_used(tmp_path: Path) -> None:
    updates = []
    for offset in (0.0, 3.0):
        session, weights = open_session(tmp_path / str(offset), "fedbn"), initial("fedbn")
        for name in session.initial_local_layers:
            weights[name] += offset
        updates.append(session.train(weights, 0, 4, stop=lambda: False).difference)
    assert not same(*updates)


@pytest.mark.parametrize("normalisation", ["dsbn", "fedbn"])
def test_a_new_process_for_each_task_gives_the_same_weights(tmp_path: Path, normalisation: str) -> None:
    results = []
    for fresh in (False, True):
        folder = tmp_path / str(fresh)
        session, weights = open_session(folder, normalisation), initial(normalisation)
        for number in range(3):
            if fresh:
                session = open_session(folder, normalisation)
            session.validate(weights, "between", stop=lambda: False)
            weights = train(session, weights, number)
        results.append({**weights, **session.state.local_layers.latest()})
    assert same(*results)


def test_a_round_that_is_asked_for_again_starts_from_the_same_normalisation(tmp_path: Path) -> None:
    session, weights = open_session(tmp_path, "fedbn"), initial("fedbn")
    for number in range(2):
        received, weights = weights, train(session, weights, number)
    kept = session.state.local_layers.latest()
    for again in (session, open_session(tmp_path, "fedbn")):
        assert same(train(again, received, 1), weights)
        assert same(again.state.local_layers.latest(), kept)


def test_another_sites_model_is_scored_with_this_sites_normalisation(tmp_path: Path) -> None:
    """It comes without those layers; the global model comes with initial ones that are not used."""
    other = open_session(tmp_path / "other", "fedbn", "CT")
    train(other, initial("fedbn"), 0)
    session = open_session(tmp_path, "fedbn")
    assert "test_dice_mean" in session.validate(other.local_model(), "untrained", stop=lambda: False)
    train(session, initial("fedbn"), 0)
    session.validate(other.local_model(), "other", stop=lambda: False)
    used = session.trainer.network.state_dict()
    assert same({name: used[name] for name in session.initial_local_layers}, session.state.local_layers.latest())


@pytest.mark.parametrize("normalisation", ["dsbn", "fedbn"])
def test_a_global_model_must_be_whole(tmp_path: Path, normalisation: str) -> None:
    session, weights = open_session(tmp_path, normalisation), initial(normalisation)
    del weights[min(name for name in weights if "running_mean" in name)]
    with pytest.raises(WeightsError, match="running_mean' is missing"):
        session.train(weights, 0, 1, stop=lambda: False)


def test_nothing_is_kept_where_everything_travels(tmp_path: Path) -> None:
    train(open_session(tmp_path, "batch"), initial("batch"), 0)
    assert not (tmp_path / "run" / LOCAL_LAYERS).exists()


def test_the_file_tells_what_a_round_started_from(tmp_path: Path) -> None:
    staying = KeptEntries(tmp_path / LOCAL_LAYERS)
    old, new = {"bn": torch.zeros(2)}, {"bn": torch.ones(2)}
    assert staying.before(0) == staying.latest() == {}
    staying.save(4, old, new)
    assert same(staying.latest(), new)
    assert same(staying.before(5), new)
    assert same(staying.before(4), old)
