from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.shareablegenerators.full_model_shareable_generator import FullModelShareableGenerator

from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_claims
from fedgin.flare.participation import Claim
from fedgin.flare.protocol import TRAINED, WITHHELD
from fedgin.flare.server.checkpoint_keeper import keep_checkpoint
from fedgin.train.experiment import Experiment, Resumed
from tests.flare.server.bad_updates import BAD_UPDATES
from tests.flare.server.updates import COUNTS, SITES, Data, Server, constant, experiment_for, open_server, send
from tests.sites import tiny_volumes

Honest = tuple[str, str, int, float]
MODALITIES = {"a": "CT", "b": "CT", "c": "MR", "d": "MR"}

weights = st.integers(1, 10_000)
values = st.floats(0.1, 5.0) | st.floats(-5.0, -0.1)


def run_round(folder: Path, experiment: Experiment, updates: list[Honest]) -> float:
    """Average constant updates; return the one number that the average has everywhere."""
    server = open_server(folder, experiment)
    for site, modality, weight, value in updates:
        assert server.accept(send(site, modality, weight, constant(experiment, modality, value))), server.errors
    found = {float(value) for entry in server.close_round().values() for value in entry.flat}
    assert len(found) == 1
    assert server.aggregated
    return found.pop()


@settings(max_examples=15)
@given(n=st.tuples(weights, weights, weights), value=st.tuples(values, values, values))
def test_balanced_is_the_mean_of_the_modalities_means(
    tmp_path_factory: pytest.TempPathFactory, n: tuple[int, ...], value: tuple[float, ...]
) -> None:
    updates = [(site, MODALITIES[site], n[i], value[i]) for i, site in enumerate("abc")]
    found = run_round(tmp_path_factory.mktemp("run"), experiment_for(), updates)
    ct = (n[0] * value[0] + n[1] * value[1]) / (n[0] + n[1])
    assert found == pytest.approx(0.5 * ct + 0.5 * value[2], rel=1e-5, abs=1e-5)


@settings(max_examples=15)
@given(n=st.tuples(weights, weights), value=st.tuples(values, values))
def test_samples_weighs_all_sites_alike(
    tmp_path_factory: pytest.TempPathFactory, n: tuple[int, ...], value: tuple[float, ...]
) -> None:
    updates = [("a", "CT", n[0], value[0]), ("c", "MR", n[1], value[1])]
    found = run_round(tmp_path_factory.mktemp("run"), experiment_for(client_weighting="samples"), updates)
    expected = (n[0] * value[0] + n[1] * value[1]) / (n[0] + n[1])
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_one_modality_alone_is_its_own_mean(tmp_path: Path) -> None:
    found = run_round(tmp_path, experiment_for(), [("a", "CT", 3, 1.0), ("b", "CT", 1, 5.0)])
    assert found == 2.0


@pytest.mark.parametrize(
    ("weighting", "shared", "ct"),
    [
        ("samples", (3 * 1.0 + 1 * 5.0 + 6 * 2.0) / 10, (3 * 4.0 + 1 * 8.0) / 4),
        ("uniform", (1.0 + 5.0 + 2.0) / 3, (4.0 + 8.0) / 2),
        ("modality_balanced", 0.5 * (3 * 1.0 + 1 * 5.0) / 4 + 0.5 * 2.0, (3 * 4.0 + 1 * 8.0) / 4),
    ],
)
def test_branches_are_averaged_over_their_modality(tmp_path: Path, weighting: str, shared: float, ct: float) -> None:
    """Two CT sites and one MR site, each entry by hand; a uniform site reports a weight of 1."""
    slices = [1.0, 1.0, 1.0] if weighting == "uniform" else [3.0, 1.0, 6.0]
    experiment = experiment_for("dsbn", client_weighting=weighting)
    server = open_server(tmp_path, experiment)
    sent = {"a": (1.0, 4.0), "b": (5.0, 8.0), "c": (2.0, 6.0)}
    for weight, (site, (value, branch)) in zip(slices, sent.items(), strict=True):
        data = constant(experiment, MODALITIES[site], value, branch)
        assert server.accept(send(site, MODALITIES[site], weight, data)), server.errors
    expected = {".CT.": ct, ".MR.": 6.0}
    found = server.close_round()
    assert {part for part in expected for name in found if part in name} == set(expected)
    for name, entry in found.items():
        value = next((value for part, value in expected.items() if part in name), shared)
        np.testing.assert_allclose(entry, value, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["samples", "modality_balanced"])
def test_a_round_without_mr_leaves_the_branches_of_mr(tmp_path: Path, weighting: str) -> None:
    """FLARE's own generator adds the mean difference to the global model; what nobody sent is as before."""
    experiment = experiment_for("dsbn", client_weighting=weighting)
    server = open_server(tmp_path, experiment)
    assert server.accept(send("a", "CT", 3.0, constant(experiment, "CT", 1.0)))
    entries = constant(experiment, "CT", 10.0) | constant(experiment, "MR", 10.0)
    server.context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(entries, {}), private=True, sticky=True)
    average = server.aggregator.aggregate(server.context)
    updated = FullModelShareableGenerator().shareable_to_learnable(average, server.context)
    for name, entry in updated[ModelLearnableKey.WEIGHTS].items():
        np.testing.assert_array_equal(entry, 10.0 if ".MR." in name else 11.0)


def test_a_second_round_starts_from_nothing(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    for site, value in (("a", 1.0), ("c", 3.0)):
        assert server.accept(send(site, MODALITIES[site], 1.0, constant(experiment, MODALITIES[site], value)))
    server.close_round()
    found = server.run_round(1, [send("a", "CT", 1.0, constant(experiment, "CT", 7.0), 1)])
    assert all((entry == 7.0).all() for entry in found.values())


def honest(experiment: Experiment, sites: str, seed: int) -> dict[str, Data]:
    rng = np.random.default_rng(seed)
    return {
        site: {
            name: rng.normal(0.0, 0.01, entry.shape).astype(np.float32)
            for name, entry in constant(experiment, MODALITIES[site], 0.0).items()
        }
        for site in sites
    }


def average(folder: Path, experiment: Experiment, order: str, data: dict[str, Data]) -> tuple[Server, Data]:
    server = open_server(folder, experiment, min_clients=3)
    slices = {"a": 30, "b": 7, "c": 90, "d": 12}
    return server, server.run_round(0, [send(site, MODALITIES[site], slices[site], data[site]) for site in order])


@settings(max_examples=20)
@given(order=st.permutations(SITES), seed=st.integers(0, 1000), normalisation=st.sampled_from(["instance", "dsbn"]))
def test_the_order_of_arrival_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], seed: int, normalisation: str
) -> None:
    experiment = experiment_for(normalisation, max_norm_ratio=10.0)
    data = honest(experiment, "abcd", seed)
    one = average(tmp_path_factory.mktemp("one"), experiment, "abcd", data)[1]
    other = average(tmp_path_factory.mktemp("other"), experiment, "".join(order), data)[1]
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", sorted(BAD_UPDATES))
@settings(max_examples=3)
@given(
    position=st.integers(0, 3),
    entry=st.integers(0, 1000),
    seed=st.integers(0, 1000),
    normalisation=st.sampled_from(["instance", "dsbn", "fedbn"]),
)
def test_a_bad_update_leaves_the_average_of_the_others(
    tmp_path_factory: pytest.TempPathFactory, kind: str, position: int, entry: int, seed: int, normalisation: str
) -> None:
    """Whichever entry is bad and whenever it arrives, the average is what it is without that site, to the last bit."""
    experiment = experiment_for(normalisation, max_norm_ratio=10.0)
    data = honest(experiment, "abcd", seed)
    without = average(tmp_path_factory.mktemp("without"), experiment, "abd", data)[1]
    server = open_server(tmp_path_factory.mktemp("with"), experiment, min_clients=3)
    slices = {"a": 30, "b": 7, "d": 12}
    updates = [send(site, MODALITIES[site], slices[site], data[site]) for site in "abd"]
    updates.insert(position, BAD_UPDATES[kind]("c", data["c"], sorted(data["c"])[entry % len(data["c"])]))
    found = server.run_round(0, updates)
    assert server.aggregated
    assert not server.panics
    assert found.keys() == without.keys()
    assert all(np.array_equal(found[name], without[name]) for name in found)
    assert [site for site, _ in server.told] == ["c"]
    (line,) = server.errors
    assert line.startswith("round 1: the update of site c is refused: ")
    assert "\n" not in line
    assert len(line) < 500


def test_half_precision_that_would_overflow_the_average_is_refused(tmp_path: Path) -> None:
    """Small differences of a large site: finite, of an ordinary size, but not after they are multiplied by a weight."""
    experiment = experiment_for(max_norm_ratio=10.0)
    server = open_server(tmp_path, experiment, min_clients=2)
    updates = {site: constant(experiment, MODALITIES[site], 1e-3) for site in "abc"}
    updates["c"] = {name: entry.astype(np.float16) for name, entry in updates["c"].items()}
    next(iter(updates["c"].values())).flat[0] = 0.08
    found = server.run_round(0, [send(site, MODALITIES[site], 1_000_000, data) for site, data in updates.items()])
    assert "has type float16, not float32 or float64" in server.told[0][1]
    assert server.aggregated
    assert all(np.isfinite(entry).all() for entry in found.values())


def test_half_precision_that_the_job_asks_for_is_judged_and_averaged_as_single(tmp_path: Path) -> None:
    """As above, and nothing overflows; what is infinite as float16 is refused."""
    experiment = experiment_for(max_norm_ratio=10.0, transfer="float16", client_weighting="samples")
    server = open_server(tmp_path, experiment, min_clients=2)
    updates = {site: constant(experiment, MODALITIES[site], 0.0625) for site in "abc"}
    halves = {site: {name: entry.astype(np.float16) for name, entry in data.items()} for site, data in updates.items()}
    next(iter(halves["c"].values())).flat[0] = np.inf
    found = server.run_round(0, [send(site, MODALITIES[site], 1_000_000, data) for site, data in halves.items()])
    assert [site for site, _ in server.told] == ["c"]
    assert "holds NaN or infinity as float32" in server.told[0][1]
    assert {entry.dtype for entry in found.values()} == {np.dtype(np.float32)}
    assert all(np.array_equal(entry, np.full_like(entry, 0.0625)) for entry in found.values())


def test_double_precision_is_averaged_as_single(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    data = {name: entry.astype(np.float64) for name, entry in constant(experiment, "CT", 0.1).items()}
    found = server.run_round(0, [send("a", "CT", 3, data)])
    assert {entry.dtype for entry in found.values()} == {np.dtype(np.float32)}
    assert all(np.allclose(entry, 0.1) for entry in found.values())


def test_an_average_that_overflows_stops_the_job(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    updates = [send(site, "CT", 1_000_000, constant(experiment, "CT", 3e38)) for site in "ab"]
    with np.errstate(over="ignore"):
        assert server.run_round(0, updates) == {}
    assert not server.aggregated
    assert server.panics[0].startswith("round 1: the average holds NaN or infinity. Fix: ")


def test_a_second_update_of_a_round_is_refused_and_the_first_counts(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    assert server.accept(send("a", "CT", 1, constant(experiment, "CT", 1.0)))
    assert not server.accept(send("a", "CT", 1, constant(experiment, "CT", 9.0)))
    assert all((entry == 1.0).all() for entry in server.close_round().values())
    assert "it is the second of the round" in server.told[0][1]


@pytest.mark.parametrize(("sent", "told"), [(0, "1"), (2, "3"), (None, "None"), ("1", "'1'")])
def test_an_update_of_another_round_is_refused(tmp_path: Path, sent: object, told: str) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    server.run_round(0, [send("a", "CT", 1, constant(experiment, "CT", 1.0))])
    server.open_round(1)
    assert not server.accept(send("a", "CT", 1, constant(experiment, "CT", 1.0), sent))
    assert server.errors[-1].startswith(f"round 2: the update of site a is refused: it is late, of round {told}. Fix: ")


def test_an_update_after_the_round_was_closed_never_reaches_the_next(tmp_path: Path) -> None:
    """FLARE goes on handing over answers while it aggregates and saves, with the number of the old round."""
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    server.run_round(0, [send("a", "CT", 1, constant(experiment, "CT", 1.0))])
    assert not server.accept(send("b", "CT", 1, constant(experiment, "CT", 50.0)))
    found = server.run_round(1, [send("a", "CT", 1, constant(experiment, "CT", 2.0), 1)])
    assert all((entry == 2.0).all() for entry in found.values())


def test_a_site_that_the_job_was_not_deployed_to_is_refused_and_not_told(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment, sites=["a"])
    assert not server.accept(send("stranger", "CT", 1, constant(experiment, "CT", 1.0)))
    assert "stranger is refused: the job was not deployed to this site" in server.errors[0]
    assert server.told == []


def test_a_site_that_names_itself_as_another_is_refused_in_its_own_name(tmp_path: Path) -> None:
    """FLARE's peer context is the site's word; its session's token is bound to its certificate."""
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    forged = send("a", "CT", 5.0, constant(experiment, "CT", 1.0))
    forged.set_peer_props({ReservedKey.IDENTITY_NAME: "b"})
    assert not server.accept(forged)
    (told,) = server.told
    assert told[0] == "a"
    assert "names itself 'b'" in told[1]
    assert server.accept(send("b", "CT", 5.0, constant(experiment, "CT", 2.0)))


@pytest.mark.parametrize("name", ["a", "b"])
def test_too_few_updates_stop_the_job_with_the_reason(tmp_path: Path, name: str) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment, min_clients=2)
    assert server.run_round(0, [send(name, "CT", 1, constant(experiment, "CT", 1.0))]) == {}
    assert not server.aggregated
    (reason,) = server.panics
    assert reason.startswith("round 1: 1 of at least 2 updates can be averaged. Fix: ")


def test_a_round_without_updates_stops_the_job(tmp_path: Path) -> None:
    server = open_server(tmp_path, experiment_for())
    assert server.close_round() == {}
    assert server.panics[0].startswith("round 1: 0 of at least 1 updates")


def test_what_a_site_first_claimed_holds_for_the_run(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    data = constant(experiment, "CT", 1.0)
    server.run_round(0, [send("a", "CT", 50, data)])
    server.open_round(1)
    assert not server.accept(send("a", "CT", 51, data, 1))
    assert "it claims 51 samples, allowed is 1 to 50" in server.errors[-1]
    assert not server.accept(send("a", "MR", 50, data, 1))
    assert "its modality was CT and is MR" in server.errors[-1]
    assert server.accept(send("a", "CT", 49, data, 1))


def test_what_was_agreed_binds_a_site_from_its_first_update(tmp_path: Path) -> None:
    experiment = experiment_for(agreed={"a": {"modality": "CT", "slices": 50}, "c": {"modality": "MR", "slices": 7}})
    server = open_server(tmp_path, experiment)
    data = constant(experiment, "CT", 1.0)
    assert not server.accept(send("a", "CT", 51, data))
    assert "it claims 51 samples, allowed is 1 to 50" in server.errors[-1]
    assert not server.accept(send("c", "CT", 7, data))
    assert "its modality was MR and is CT" in server.errors[-1]
    assert not server.accept(send("b", "CT", 1, data))
    assert "the job's federation.agreed does not name it" in server.errors[-1]
    server.run_round(0, [send("a", "CT", 40, data)])
    assert server.aggregated
    server.open_round(1)
    assert not server.accept(send("a", "CT", 41, data, 1))
    assert server.accept(send("a", "CT", 40, data, 1))


@pytest.mark.parametrize("claim", [11, 13, 1_000_000])
def test_the_claim_is_the_number_of_slices_that_the_report_shows(tmp_path: Path, claim: int) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    data = constant(experiment, "CT", 1.0)
    assert not server.accept(send("a", "CT", claim, data, **{TRAINED: COUNTS}))
    assert f"it claims {claim} samples and has 12 training slices" in server.errors[-1]
    assert server.accept(send("a", "CT", 12, data, **{TRAINED: COUNTS}))


def test_what_a_site_first_claimed_holds_in_a_resumed_job(tmp_path: Path) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path / "first", experiment)
    data = constant(experiment, "CT", 1.0)
    server.run_round(0, [send("a", "CT", 50, data)])
    keep(server, data, tmp_path / CHECKPOINT)
    rest = experiment.model_copy(update={"resumes": Resumed(job="first", round=1)})
    resumed = open_server(tmp_path / "rest", rest, checkpoint=tmp_path / CHECKPOINT)
    assert not resumed.accept(send("a", "CT", 51, data))
    assert "it claims 51 samples, allowed is 1 to 50" in resumed.errors[-1]
    assert not resumed.accept(send("a", "MR", 50, data))
    resumed.run_round(1, [send("a", "CT", 49, data, 1), send("b", "CT", 60, data, 1)])
    keep(resumed, data, tmp_path / CHECKPOINT)
    assert read_claims(tmp_path / CHECKPOINT) == {"a": Claim("CT", 50.0), "b": Claim("CT", 60.0)}


def keep(server: Server, model: Data, path: Path) -> None:
    """Write the checkpoint of the round that was closed."""
    server.context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(model, {}), private=True, sticky=True)
    keep_checkpoint(server.context, path)


def test_a_resumed_job_without_claims_is_stopped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(safetensors.numpy.save({"w": np.ones(1)}, metadata={"round": "0"}))
    rest = experiment_for().model_copy(update={"resumes": Resumed(job="first", round=1)})
    server = open_server(tmp_path / "rest", rest, checkpoint=tmp_path / CHECKPOINT)
    assert "checkpoint.safetensors is damaged" in server.panics[0]


def test_a_refused_claim_is_not_remembered(tmp_path: Path) -> None:
    experiment = experiment_for(max_samples_per_site=100)
    server = open_server(tmp_path, experiment)
    data = constant(experiment, "CT", 1.0)
    assert not server.accept(send("a", "CT", 101, data))
    assert server.accept(send("a", "CT", 100, data))


def test_a_uniform_job_believes_no_claim(tmp_path: Path) -> None:
    experiment = experiment_for(client_weighting="uniform")
    server = open_server(tmp_path, experiment)
    assert not server.accept(send("a", "CT", 2, constant(experiment, "CT", 1.0)))
    assert server.accept(send("a", "CT", 1, constant(experiment, "CT", 1.0)))


@pytest.mark.parametrize("normalisation", ["instance", "dsbn", "fedbn"])
def test_a_site_may_hold_entries_back_that_it_names(tmp_path: Path, normalisation: str) -> None:
    experiment = experiment_for(normalisation)
    server = open_server(tmp_path, experiment)
    whole = constant(experiment, "CT", 1.0)
    name = sorted(whole)[0]
    data = {key: value for key, value in whole.items() if key != name}
    for withheld in ([], ["other"], [name, "other"], [name, sorted(data)[0]], [name, 3], name, None, {name: 1}):
        assert not server.accept(send("a", "CT", 1, data, **{WITHHELD: withheld})), withheld
    assert not server.accept(send("a", "CT", 1, whole, **{WITHHELD: [name]}))
    assert not server.accept(send("a", "CT", 1, {}, **{WITHHELD: sorted(whole)}))
    assert server.accept(send("a", "CT", 1, data, **{WITHHELD: [name]})), server.errors


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_what_a_method_keeps_at_the_site_cannot_be_withheld_or_sent(tmp_path: Path, modality: str) -> None:
    """With DSBN the other modality's branches are neither expected nor to be named."""
    experiment = experiment_for("dsbn")
    server = open_server(tmp_path, experiment)
    other = "MR" if modality == "CT" else "CT"
    branch = next(name for name in sorted(constant(experiment, other, 1.0)) if f".{other}." in name)
    whole = constant(experiment, modality, 1.0)
    assert not server.accept(send("a", modality, 1, whole, **{WITHHELD: [branch]}))
    assert f"it withholds '{branch}', which nobody expects" in server.errors[-1]
    assert server.accept(send("a", modality, 1, whole))


def test_one_outlier_of_two_is_known_by_the_round_before(tmp_path: Path) -> None:
    experiment = experiment_for(max_norm_ratio=10.0)
    server = open_server(tmp_path, experiment)

    def updates(number: int, last: float) -> list[Shareable]:
        return [
            send("a", "CT", 1, constant(experiment, "CT", 1.0), number),
            send("c", "MR", 1, constant(experiment, "MR", last), number),
        ]

    server.run_round(0, updates(0, 2.0))
    assert server.outliers == []
    server.run_round(1, updates(1, 100.0))
    assert server.outliers == ["c"]


def test_two_that_differ_without_a_past_stop_the_job(tmp_path: Path) -> None:
    experiment = experiment_for(max_norm_ratio=10.0)
    server = open_server(tmp_path, experiment, min_clients=2)
    pair = [("a", "CT", 1.0), ("c", "MR", 100.0)]
    server.run_round(0, [send(site, kind, 1, constant(experiment, kind, value)) for site, kind, value in pair])
    assert server.outliers == ["a", "c"]
    assert len(server.panics) == 1


def test_updates_of_volumes_are_averaged_and_judged_like_those_of_slices(tmp_path: Path) -> None:
    experiment = tiny_volumes(federation={"max_norm_ratio": 10.0})
    server = open_server(tmp_path, experiment)
    for site, value in (("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1000.0)):
        assert server.accept(send(site, MODALITIES[site], 5, constant(experiment, MODALITIES[site], value)))
    average = server.close_round()
    assert {value.ndim for value in average.values()} == {1, 5}
    assert {float(number) for value in average.values() for number in value.flat} == {1.0}
    assert server.outliers == ["d"]
