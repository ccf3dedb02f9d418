"""A site's privacy settings through FLARE's parts: what the server receives, averages and adds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.shareablegenerators.full_model_shareable_generator import FullModelShareableGenerator

from fedgin.flare.client.executor import FedginExecutor
from fedgin.flare.protocol import CAUSE, WITHHELD
from fedgin.flare.server.model import initial_network
from fedgin.nets.normalisation import batch_norm_entries
from fedgin.train.experiment import Experiment, load_experiment
from tests.flare.client.in_process import spawn_in_process
from tests.flare.runs import came_from, lay_out, make_context
from tests.flare.server.updates import constant, experiment_for, open_server, send
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

# An encrypted update is whole; tests/train/site/test_encrypted_session.py shows that such a site is told so.
READABLE_JOBS = sorted(path.name for path in JOBS.iterdir() if not path.name.endswith(("_encrypted", "evaluate")))
NOISE: dict[str, Any] = {"clip_norm": 0.5, "noise_multiplier": 0.1, "delta": 1e-5, "epsilon_budget": 1e6}


@pytest.fixture(autouse=True)
def _no_child_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgin.flare.client.site_process.spawn", spawn_in_process)


class Site:
    """A site with a privacy section; each call of ``do`` is a new process."""

    def __init__(self, root: Path, privacy: dict[str, Any], job: Experiment | None = None) -> None:
        contract = write_site(root / "data", "site-1", "MR")
        contract.write_text(yaml.safe_dump(yaml.safe_load(contract.read_text()) | {"privacy": privacy}))
        self.workspace = lay_out(root / "kit", "site-1", job or tiny_experiment(), contract)
        self.context = make_context(self.workspace, "site-1")
        experiment = Path(self.workspace.get_app_config_dir("job-1")) / "experiment.yaml"
        state = initial_network(str(experiment)).state_dict()
        self.weights = {name: value.numpy() for name, value in state.items()}

    def do(self, task: str) -> Shareable:
        shareable: Shareable = DXO(DataKind.WEIGHTS, data=self.weights).to_shareable()
        shareable.set_header(AppConstants.CURRENT_ROUND, 0)
        shareable.set_header(AppConstants.NUM_ROUNDS, 3)
        return FedginExecutor().execute(task, shareable, self.context, Signal())


def test_what_leaves_is_noisy_repeated_byte_for_byte_and_consistent(tmp_path: Path) -> None:
    site = Site(tmp_path, NOISE)
    first, second = (from_shareable(site.do("train")) for _ in range(2))
    assert first.get_meta_prop(MetaKey.INITIAL_METRICS)["privacy_epsilon"] > 0
    assert "protection" not in str(first.get_meta_props()), "the norm before clipping comes from the data"
    for name, value in first.data.items():
        assert value.tobytes() == second.data[name].tobytes()
        assert np.count_nonzero(value) == value.size
    model = from_shareable(site.do("submit_model")).data
    for name, value in site.weights.items():
        np.testing.assert_array_equal(model[name], value + first.data[name])


def test_a_spent_budget_is_an_error_reply_that_tells_the_lead_why(tmp_path: Path) -> None:
    reply = Site(tmp_path, NOISE | {"epsilon_budget": 1.0}).do("train")
    assert reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "the privacy budget is spent" in reply.get_header(CAUSE)
    assert "DXO" not in reply


@pytest.mark.parametrize("weighting", ["samples", "modality_balanced"])
@pytest.mark.parametrize("both", [False, True])
def test_an_entry_that_is_withheld_moves_only_by_those_who_send_it(tmp_path: Path, weighting: str, both: bool) -> None:
    """One site withholds an entry and another does or does not: its average is the other's, or it stays as it was."""
    experiment = experiment_for(client_weighting=weighting)
    server = open_server(tmp_path, experiment)
    updates = {"a": constant(experiment, "CT", 1.0), "c": constant(experiment, "MR", 3.0)}
    withheld = next(iter(updates["a"]))
    for site, modality in (("a", "CT"), ("c", "MR")):
        names = [withheld] if both or site == "a" else []
        data = {name: value for name, value in updates[site].items() if name not in names}
        assert server.accept(send(site, modality, 1, data, **{WITHHELD: names})), server.errors
    base = {name: np.full_like(value, 10.0) for name, value in constant(experiment, "CT", 0.0).items()}
    server.context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(base, {}), private=True, sticky=False)
    average = server.aggregator.aggregate(server.context)
    model = FullModelShareableGenerator().shareable_to_learnable(average, server.context)
    found = {name: float(value.flat[0]) for name, value in model[ModelLearnableKey.WEIGHTS].items()}
    assert found.pop(withheld) == (10.0 if both else 13.0)
    assert set(found.values()) == {12.0}


@pytest.mark.parametrize("job", READABLE_JOBS)
@pytest.mark.parametrize("normalisation", ["instance", "batch", "dsbn", "fedbn"])
def test_a_site_that_excludes_a_layer_takes_part_in_every_readable_job(
    tmp_path: Path, job: str, normalisation: str
) -> None:
    """The network is smaller than the job's, so that it trains quickly; what the job says about the rest is its own."""
    shipped = load_experiment(JOBS / job / "app" / "config" / "experiment.yaml")
    tiny = tiny_experiment(network=network_with(normalisation))
    changes = tiny.model_dump(include={"network", "organs", "preprocessing"})
    changes["postprocessing"] = {"largest_region": []}
    if shipped.spatial_dims == 3:
        changes["preprocessing"] = {"spacing_mm": [10.0, 10.0, 5.0], "size": [16, 16, 16]}
    changes["training"] = shipped.training.model_copy(
        update={"local_steps": 1, "local_epochs": None, "batch_size": 2}
    ).model_dump()
    experiment = Experiment.model_validate(shipped.model_dump() | changes)
    site = Site(tmp_path / "site", {"exclude_layers": ["model.0"]}, experiment)
    update = site.do("train")
    assert update.get_return_code() == ReturnCode.OK, update.get_header(CAUSE)
    dxo = from_shareable(update)
    assert dxo.get_meta_prop(WITHHELD)
    assert not [name for name in dxo.data if name.startswith("model.0.")]
    assert {name for name in dxo.get_meta_prop(WITHHELD) if not name.startswith("model.0.")} == set()
    server = open_server(tmp_path / "server", experiment, sites=["site-1"])
    came_from("site-1", update)
    update.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
    assert server.accept(update), server.errors


def network_with(normalisation: str) -> dict[str, Any]:
    return {"name": "unet", "normalisation": normalisation, "params": {"channels": [4, 8], "residual_units": 0}}


def test_a_layer_that_the_method_keeps_at_the_site_may_be_excluded(tmp_path: Path) -> None:
    """FedBN never sends it; a site's settings need not know the job's method."""
    experiment = tiny_experiment(network=network_with("fedbn"))
    layer = min(batch_norm_entries(experiment.initial_network())).rpartition(".")[0]
    update = Site(tmp_path, {"exclude_layers": [layer]}, experiment).do("train")
    assert update.get_return_code() == ReturnCode.OK, update.get_header(CAUSE)
    assert from_shareable(update).get_meta_prop(WITHHELD) == []
