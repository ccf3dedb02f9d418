import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.fuel.utils import fobs
from typer.testing import CliRunner

from fedgin.cli.site import site_app
from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.client.executor import FedginExecutor
from fedgin.flare.jobs.checkpoint import CHECKPOINT, CIPHERTEXTS, CLAIMS, ROUND
from fedgin.flare.protocol import CAUSE, FINGERPRINT, MODALITY, ORGANS, TRAINED, UPDATE_REFUSED
from fedgin.flare.server.model import initial_network
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.experiment import TrainingSettings
from tests.flare.client.in_process import spawn_in_process
from tests.flare.runs import lay_out, make_context
from tests.sites import tiny_experiment, write_site


class Site:
    """An executor in the workspace of one site, and the log lines it wrote."""

    def __init__(
        self,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        modality: str = "MR",
        identity: str = "site-1",
        **changes: object,
    ) -> None:
        contract = write_site(root / "data", "site-1", modality)
        self.workspace = lay_out(root / "kit", identity, tiny_experiment(**changes), contract)
        self.data = root / "data"
        self.context = make_context(self.workspace, identity)
        self.errors: list[str] = []
        self.monkeypatch = monkeypatch
        monkeypatch.setattr("fedgin.flare.client.site_process.spawn", spawn_in_process)
        self.executor = self.new_executor()
        self.experiment = Path(self.workspace.get_app_config_dir("job-1")) / "experiment.yaml"

    def new_executor(self) -> FedginExecutor:
        executor = FedginExecutor()
        self.monkeypatch.setattr(executor, "log_error", lambda _context, line, **_: self.errors.append(line))
        return executor

    def do(self, task: str, shareable: Shareable, signal: Signal | None = None) -> Shareable:
        return self.executor.execute(task, shareable, self.context, signal or Signal())

    def edit(self, **changes: object) -> None:
        contract = Path(self.workspace.get_site_config_dir()) / "site.yaml"
        contract.write_text(yaml.safe_dump(yaml.safe_load(contract.read_text()) | changes))

    def weights(self) -> dict[str, np.ndarray]:
        state = initial_network(str(self.experiment)).state_dict()
        return {name: value.numpy() for name, value in state.items()}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def task(weights: dict[str, np.ndarray], number: int = 0, total: int = 3) -> Shareable:
    shareable: Shareable = DXO(DataKind.WEIGHTS, data=weights).to_shareable()
    shareable.set_header(AppConstants.CURRENT_ROUND, number)
    shareable.set_header(AppConstants.NUM_ROUNDS, total)
    shareable.set_header(AppConstants.MODEL_OWNER, "SRV_x")
    return shareable


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_train_returns_a_difference_with_weight_metrics_and_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    site = Site(tmp_path, monkeypatch, modality)
    weights = site.weights()
    reply = site.do("train", task(weights))
    assert reply.get_return_code() == ReturnCode.OK, site.errors
    dxo = from_shareable(reply)
    assert dxo.data_kind == DataKind.WEIGHT_DIFF
    assert set(dxo.data) == set(weights)
    assert dxo.get_meta_prop(MetaKey.NUM_STEPS_CURRENT_ROUND) == 12
    assert dxo.get_meta_prop(MODALITY) == modality
    trained = dxo.get_meta_prop(TRAINED)
    assert (trained["of_cases"], trained["of_slices"]) == (2, 12)
    assert 0 < trained["cases"] <= 2
    assert 0 < trained["slices"] <= 8, "two steps of four slices"
    metrics = dxo.get_meta_prop(MetaKey.INITIAL_METRICS)
    assert {"val_dice_mean", "val_dice_liver", "val_dice_spleen", "val_cases", "train_loss"} <= set(metrics)


def test_the_difference_added_to_the_received_model_is_what_submit_model_sends(site: Site) -> None:
    weights = site.weights()
    difference = from_shareable(site.do("train", task(weights))).data
    site.executor = site.new_executor()  # a new process
    sent = from_shareable(site.do("submit_model", Shareable()))
    assert sent.data_kind == DataKind.WEIGHTS
    for name, value in weights.items():
        np.testing.assert_allclose(value + difference[name], sent.data[name], atol=1e-6)


def test_a_message_of_float16_has_half_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FLARE writes it, with names, counts and metrics."""
    flare_decomposers.register()
    fobs.register(NumpyArrayDecomposer)
    network = {"name": "unet", "params": {"channels": [32, 64]}}
    sizes = {}
    for transfer in ("float32", "float16"):
        site = Site(tmp_path / transfer, monkeypatch, network=network, federation={"transfer": transfer})
        reply = site.do("train", task(site.weights()))
        assert {value.dtype.name for value in from_shareable(reply).data.values()} == {transfer}, site.errors
        sizes[transfer] = len(fobs.dumps(reply))
    assert 0.5 < sizes["float16"] / sizes["float32"] < 0.55


def test_validate_returns_metrics(site: Site) -> None:
    dxo = from_shareable(site.do("validate", task(site.weights())))
    assert dxo.data_kind == DataKind.METRICS
    assert 0.0 <= dxo.data["test_dice_mean"] <= 1.0
    assert 0.0 <= dxo.data["val_dice_mean"] <= 1.0, "the server's models are candidates for the result"


def test_another_sites_model_is_scored_on_test_cases_alone(site: Site) -> None:
    shareable = task(site.weights())
    shareable.set_header(AppConstants.MODEL_OWNER, "site-2")
    assert "val_dice_mean" not in from_shareable(site.do("validate", shareable)).data


def validate(contract: Path) -> None:
    CliRunner().invoke(site_app, ["validate", str(contract)])


def test_a_fingerprint_is_sent_by_a_site_that_has_agreed_and_whose_data_are_as_they_were(site: Site) -> None:
    """The reason of a refusal goes to the lead; the site's security log has it, too."""
    contract = Path(site.workspace.get_site_config_dir()) / "site.yaml"
    validate(contract)
    refused = site.do(FINGERPRINT, Shareable())
    assert refused.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "the site has not agreed to send its fingerprint" in refused.get_header(CAUSE)
    assert read_log(Path(site.workspace.get_root_dir())).events[-1].kind is Kind.TASK_REFUSED
    contract.write_text(contract.read_text() + "share_fingerprint: true\n")
    answer = from_shareable(site.do(FINGERPRINT, Shareable()))
    assert answer.data_kind == DataKind.METRICS
    written = json.loads((site.data / "fedgin-validation" / "fingerprint.json").read_text())
    assert answer.data[FINGERPRINT] == written
    assert written["site"] == "site-1"
    next(site.data.glob("case0.nii.gz")).touch()
    assert "have changed since they were validated" in site.do(FINGERPRINT, Shareable()).get_header(CAUSE)
    shutil.rmtree(site.data / "fedgin-validation")
    assert "were not validated. Fix: run 'fedgin site validate'" in site.do(FINGERPRINT, Shareable()).get_header(CAUSE)


def test_a_refused_update_is_told_in_the_sites_logs(site: Site) -> None:
    notice = Shareable()
    notice.set_header(CAUSE, "round 3: the update was refused: it changes no weight. Fix: look")
    site.context.set_prop(FLContextKey.EVENT_DATA, notice, private=True, sticky=False)
    site.executor.handle_event(UPDATE_REFUSED, site.context)
    assert site.errors == ["round 3: the update was refused: it changes no weight. Fix: look"]
    [event] = read_log(Path(site.workspace.get_root_dir())).events
    assert (event.kind, event.job_id, event.reason) == (Kind.UPDATE_REFUSED, "job-1", site.errors[0])


def test_submit_model_before_training_is_an_error_reply(site: Site) -> None:
    assert site.do("submit_model", Shareable()).get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "local_model.pt does not exist" in site.errors[0]


TASKS = (ORGANS, FINGERPRINT, "train", "validate", "submit_model")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"limits": {"pause": True}}, "the site takes part in no job for now"),
        ({"limits": {"local_steps": 1, "rounds": 2}}, "local_steps 2 (at most 1), rounds 3 (at most 2)"),
        ({"limits": {"batch_pixels": 10}}, "batch_pixels 4,096 (at most 10)"),
        ({"privacy": {"encrypted_jobs_only": True}}, "takes part in encrypted jobs only"),
    ],
)
def test_a_job_that_was_deployed_before_the_site_forbade_it_does_nothing(
    site: Site, changes: dict[str, object], cause: str
) -> None:
    """FLARE starts a job that lies in the kit without asking the validator again."""
    site.edit(share_fingerprint=True, **changes)
    for name in TASKS:
        reply = site.do(name, task(site.weights()))
        assert reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
        assert cause in reply.get_header(CAUSE)
    assert not (Path(site.workspace.get_run_dir("job-1")) / "fedgin").exists()
    events = read_log(Path(site.workspace.get_root_dir())).events
    assert [(event.kind, event.task) for event in events] == [(Kind.TASK_REFUSED, name) for name in TASKS]


def test_a_network_larger_than_the_site_allows_by_now_is_not_trained(site: Site) -> None:
    site.edit(limits={"parameters": 100})
    for name in ("train", "validate", "submit_model"):
        assert "weights (at most 100). Fix: make it" in site.do(name, task(site.weights())).get_header(CAUSE)


def test_a_job_that_runs_when_the_site_begins_to_pause_goes_on(site: Site) -> None:
    assert site.do(ORGANS, Shareable()).get_return_code() == ReturnCode.OK
    site.edit(limits={"pause": True})
    assert site.do("train", task(site.weights())).get_return_code() == ReturnCode.OK, site.errors


@pytest.mark.parametrize("number", [3, 2**40, -1, True, "0"])
def test_no_round_is_trained_that_the_job_does_not_have(site: Site, number: object) -> None:
    """Its length is what was signed and deployed, not what the task says."""
    shareable = task(site.weights(), total=100)
    shareable.set_header(AppConstants.CURRENT_ROUND, number)
    reply = site.do("train", shareable)
    assert reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert ("is no count" if number in (True, "0") else "but the job has rounds 1 to 3. Fix:") in reply.get_header(
        CAUSE
    )


def test_the_length_of_a_run_is_the_job_s_whatever_the_task_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    totals = []

    def note(settings: TrainingSettings, step: int, total: int) -> float:
        totals.append(total)
        return 1e-3

    monkeypatch.setattr("fedgin.train.trainer.learning_rate", note)
    assert site.do("train", task(site.weights(), total=99)).get_return_code() == ReturnCode.OK, site.errors
    assert set(totals) == {3 * tiny_experiment().training.steps}


def test_a_resumed_job_has_the_rounds_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, monkeypatch, resumes={"job": "lost", "round": 2})
    kept = averaged_weights(tiny_experiment().initial_network())
    facts = {ROUND: "1", CLAIMS: "{}", CIPHERTEXTS: "[]"}
    safetensors.torch.save_file(kept, site.experiment.with_name(CHECKPOINT), metadata=facts)
    for number in (0, 1, 5):
        cause = site.do("train", task(site.weights(), number)).get_header(CAUSE)
        assert cause.startswith(f"the task is for round {number + 1}, but the job has rounds 3 to 5. Fix: ")
    assert "nothing of job lost" in site.do("train", task(site.weights(), 2)).get_header(CAUSE)


def test_an_unknown_task_is_named(site: Site) -> None:
    assert site.do("steal", Shareable()).get_return_code() == ReturnCode.TASK_UNKNOWN
    assert "unknown task 'steal'" in site.errors[0]


def test_what_a_site_does_not_do_is_in_its_security_log(site: Site) -> None:
    kit = Path(site.workspace.get_root_dir())
    site.do("steal", Shareable())
    (kit / "local" / "site.yaml").write_text(f"data_root: {site.data}")
    site.do("train", task(site.weights()))
    unknown, refused = read_log(kit).events
    assert (unknown.kind, unknown.job_id, unknown.task) == (Kind.TASK_REFUSED, "job-1", "steal")
    assert (refused.task, refused.reason) == ("train", site.errors[1].replace(f"{kit}/", ""))
    assert str(site.data) not in refused.reason


def test_a_full_disk_does_not_keep_a_site_from_answering(site: Site) -> None:
    (Path(site.workspace.get_root_dir()) / "security.jsonl").mkdir()
    assert site.do("steal", Shareable()).get_return_code() == ReturnCode.TASK_UNKNOWN
    assert "security.jsonl cannot be written" in site.errors[1]


def test_an_abort_is_answered_as_one(site: Site) -> None:
    signal = Signal()
    signal.trigger(True)
    assert site.do("train", task(site.weights()), signal).get_return_code() == ReturnCode.TASK_ABORTED
    assert site.errors == []
    assert not (site.data / ".fedgin-cache").exists()


def test_an_abort_while_training_is_answered_before_the_next_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    signal, steps = Signal(), []

    def count(settings: TrainingSettings, step: int, total: int) -> float:
        steps.append(step)
        signal.trigger(True)
        time.sleep(0.5)  # the abort travels to the training process
        return 1e-3

    monkeypatch.setattr("fedgin.train.trainer.learning_rate", count)
    assert site.do("train", task(site.weights()), signal).get_return_code() == ReturnCode.TASK_ABORTED
    assert len(steps) <= 2


def test_a_job_that_runs_longer_than_the_site_allows_is_ended_there_with_the_reason(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(settings: TrainingSettings, step: int, total: int) -> float:
        site.executor._started -= 3600 * 168
        time.sleep(0.5)  # the end travels to the training process
        return 1e-3

    monkeypatch.setattr("fedgin.train.trainer.learning_rate", wait)
    for name in ("train", "train", "validate"):
        reply = site.do(name, task(site.weights()))
        assert reply.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
        assert "168 hours for this job, 'limits.hours' of its" in reply.get_header(CAUSE)


def test_a_site_says_which_organs_it_labels_and_hides_small_numbers(site: Site) -> None:
    reply = site.do(ORGANS, Shareable())
    assert from_shareable(reply).data == {"liver": "<3", "spleen": "<3"}
    assert not (site.data / ".fedgin-cache").exists()


def break_weights(kind: str, weights: dict[str, np.ndarray]) -> Shareable:
    name = sorted(weights)[0]
    changed: dict[str, object] = dict(weights)
    if kind == "shape":
        changed[name] = np.zeros((1, 2), np.float32)
    elif kind == "nan":
        changed[name] = np.full_like(weights[name], np.nan)
    elif kind == "text":
        changed[name] = "weights"
    elif kind == "missing":
        del changed[name]
    elif kind == "extra":
        changed["backdoor"] = np.zeros(3, np.float32)
    elif kind == "empty":
        changed = {}
    elif kind == "kind":
        shareable = task(weights)
        shareable["DXO"]["kind"] = DataKind.METRICS
        return shareable
    elif kind == "none":
        return Shareable()
    return task(changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["shape", "nan", "text", "missing", "extra", "empty", "kind", "none"])
def test_weights_that_do_not_fit_are_one_clear_line(site: Site, kind: str) -> None:
    shareable = break_weights(kind, site.weights())
    shareable.set_header(AppConstants.CURRENT_ROUND, 0)
    shareable.set_header(AppConstants.NUM_ROUNDS, 3)
    assert site.do("train", shareable).get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert len(site.errors) == 1
    assert "\n" not in site.errors[0]
    assert "Fix: " in site.errors[0]
    assert not (Path(site.workspace.get_run_dir("job-1")) / "fedgin" / "local_model.pt").exists()


def test_an_unforeseen_error_says_where_but_not_what_it_held(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/data/DOE_JANE_19470101.nii.gz")

    monkeypatch.setattr("fedgin.train.site.session.evaluate", fail)
    assert site.do("train", task(site.weights())).get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "unforeseen RuntimeError at test_executor.py" in site.errors[0]
    assert "DOE" not in site.errors[0]


def test_the_contract_of_another_site_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, monkeypatch, identity="site-9")
    assert site.do("train", task(site.weights())).get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "site.yaml is of site 'site-1', but FLARE knows this site as 'site-9'" in site.errors[0]


def test_a_missing_contract_is_named(site: Site) -> None:
    (Path(site.workspace.get_site_config_dir()) / "site.yaml").unlink()
    reply = site.do("train", task(site.weights()))
    assert reply.get_header(CAUSE).startswith("local/site.yaml: no such file"), "the server learns no path of the site"


def test_the_servers_network_is_the_sites_network(site: Site) -> None:
    first, second = (initial_network(str(site.experiment)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
