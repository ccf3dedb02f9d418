from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.shareablegenerators.full_model_shareable_generator import FullModelShareableGenerator

from fedgin.flare.aggregator import ClientWeightedAggregator
from fedgin.flare.executor import MODALITY
from tests.flare.runs import lay_out, make_context, start
from tests.sites import tiny_experiment

Update = tuple[str, str, float, dict[str, np.ndarray]]


def run_round(folder: Path, weighting: str, updates: list[Update]) -> dict[str, np.ndarray]:
    aggregator, context = open_round(folder, weighting)
    for update in updates:
        assert aggregator.accept(send(*update), context)
    result: dict[str, np.ndarray] = from_shareable(aggregator.aggregate(context)).data
    return result


def open_round(folder: Path, weighting: str) -> tuple[ClientWeightedAggregator, FLContext]:
    experiment = tiny_experiment(federation={"client_weighting": weighting})
    workspace = lay_out(folder, "server", experiment)
    context = make_context(workspace, "server")
    context.set_prop(AppConstants.CURRENT_ROUND, 0, private=True, sticky=False)
    aggregator = ClientWeightedAggregator(str(Path(workspace.get_app_config_dir("job-1")) / "experiment.yaml"))
    start(aggregator, context)
    return aggregator, context


def send(site: str, modality: str, weight: float, data: dict[str, np.ndarray]) -> Shareable:
    meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: weight, MODALITY: modality}
    shareable = DXO(DataKind.WEIGHT_DIFF, data=data, meta=meta).to_shareable()
    shareable.set_peer_props({ReservedKey.IDENTITY_NAME: site})
    shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
    return shareable


weights = st.floats(1.0, 1e4)


@settings(max_examples=30, deadline=None)
@given(n=st.tuples(weights, weights, weights), values=st.tuples(*[st.floats(-5, 5)] * 3))
def test_balanced_is_the_mean_of_the_modalities_means(
    tmp_path_factory: pytest.TempPathFactory, n: tuple[float, ...], values: tuple[float, ...]
) -> None:
    updates = [
        (f"site-{number}", modality, n[number], {"w": np.full((2, 3), values[number], np.float32)})
        for number, modality in enumerate(["CT", "CT", "MR"])
    ]
    found = run_round(tmp_path_factory.mktemp("run"), "modality_balanced", updates)["w"]
    ct = (n[0] * values[0] + n[1] * values[1]) / (n[0] + n[1])
    np.testing.assert_allclose(found, np.full((2, 3), 0.5 * ct + 0.5 * values[2]), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(n=st.tuples(weights, weights), values=st.tuples(*[st.floats(-5, 5)] * 2))
def test_samples_weighs_all_sites_alike(
    tmp_path_factory: pytest.TempPathFactory, n: tuple[float, ...], values: tuple[float, ...]
) -> None:
    updates = [
        (f"site-{number}", modality, n[number], {"w": np.full(4, values[number], np.float32)})
        for number, modality in enumerate(["CT", "MR"])
    ]
    found = run_round(tmp_path_factory.mktemp("run"), "samples", updates)["w"]
    expected = (n[0] * values[0] + n[1] * values[1]) / (n[0] + n[1])
    np.testing.assert_allclose(found, np.full(4, expected), rtol=1e-5, atol=1e-5)


def test_one_modality_alone_is_its_own_mean(tmp_path: Path) -> None:
    updates: list[Update] = [
        ("a", "CT", 3.0, {"w": np.array([1.0], np.float32)}),
        ("b", "CT", 1.0, {"w": np.array([5.0], np.float32)}),
    ]
    np.testing.assert_allclose(run_round(tmp_path, "modality_balanced", updates)["w"], [2.0])


def test_an_entry_of_one_modality_only_is_averaged_over_that_modality(tmp_path: Path) -> None:
    """Domain-specific normalisation sends each branch from its own modality alone."""
    updates: list[Update] = [
        ("a", "CT", 1.0, {"shared": np.array([0.0]), "bn.CT": np.array([4.0])}),
        ("b", "MR", 9.0, {"shared": np.array([2.0]), "bn.MR": np.array([6.0])}),
    ]
    found = run_round(tmp_path, "modality_balanced", updates)
    assert {key: float(value[0]) for key, value in found.items()} == {"shared": 1.0, "bn.CT": 4.0, "bn.MR": 6.0}


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
    updates: list[Update] = [
        ("a", "CT", slices[0], {"shared": np.array([1.0]), "bn.CT": np.array([4.0])}),
        ("b", "CT", slices[1], {"shared": np.array([5.0]), "bn.CT": np.array([8.0])}),
        ("c", "MR", slices[2], {"shared": np.array([2.0]), "bn.MR": np.array([6.0])}),
    ]
    found = {key: float(value[0]) for key, value in run_round(tmp_path, weighting, updates).items()}
    assert found == pytest.approx({"shared": shared, "bn.CT": ct, "bn.MR": 6.0})


@pytest.mark.parametrize("weighting", ["samples", "modality_balanced"])
def test_a_round_without_mr_leaves_the_branches_of_mr(tmp_path: Path, weighting: str) -> None:
    """FLARE's own generator adds the mean difference to the global model; what nobody sent is as before."""
    aggregator, context = open_round(tmp_path, weighting)
    update = {"shared": np.array([1.0], np.float32), "bn.CT": np.array([2.0], np.float32)}
    assert aggregator.accept(send("a", "CT", 3.0, update), context)
    model = make_model_learnable({name: np.array([10.0], np.float32) for name in ("shared", "bn.CT", "bn.MR")}, {})
    context.set_prop(AppConstants.GLOBAL_MODEL, model, private=True, sticky=True)
    updated = FullModelShareableGenerator().shareable_to_learnable(aggregator.aggregate(context), context)
    found = {key: float(value[0]) for key, value in updated[ModelLearnableKey.WEIGHTS].items()}
    assert found == {"shared": 11.0, "bn.CT": 12.0, "bn.MR": 10.0}


def test_a_second_round_starts_from_nothing(tmp_path: Path) -> None:
    aggregator, context = open_round(tmp_path, "modality_balanced")
    for site, modality, value in (("a", "CT", 1.0), ("b", "MR", 3.0)):
        assert aggregator.accept(send(site, modality, 1.0, {"w": np.array([value])}), context)
    aggregator.aggregate(context)
    assert aggregator.accept(send("a", "CT", 1.0, {"w": np.array([7.0])}), context)
    np.testing.assert_allclose(from_shareable(aggregator.aggregate(context)).data["w"], [7.0])


@pytest.mark.parametrize("modality", ["PET", None, 3])
def test_an_unknown_modality_is_refused(tmp_path: Path, modality: object) -> None:
    aggregator, context = open_round(tmp_path, "modality_balanced")
    assert not aggregator.accept(send("a", modality, 1.0, {"w": np.array([1.0])}), context)  # type: ignore[arg-type]


def test_a_round_without_updates_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aggregator, context = open_round(tmp_path, "modality_balanced")
    reasons: list[str] = []
    monkeypatch.setattr(aggregator, "system_panic", lambda reason, _context: reasons.append(reason))
    aggregator.aggregate(context)
    assert reasons == ["no site's update was accepted this round. Fix: read the sites' logs"]
