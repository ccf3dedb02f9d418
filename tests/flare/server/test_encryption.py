import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tenseal
import torch
import yaml
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.model import ModelLearnable, make_model_learnable, model_learnable_to_dxo
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_opt.he import decomposers
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
from nvflare.fuel.utils import fobs

from fedgin.errors import ConfigError, WeightsError
from fedgin.flare.client.decrypt import decrypt_model
from fedgin.flare.jobs.checkpoint import CHECKPOINT
from fedgin.flare.jobs.encryption_key import SITE_KEY
from fedgin.flare.jobs.job import load_job
from fedgin.flare.protocol import TRAINED
from fedgin.flare.run.final_model import find_model_fault
from fedgin.flare.run.results import RunResult
from fedgin.flare.run.simulation import simulate
from fedgin.flare.server.checkpoint_keeper import keep_checkpoint
from fedgin.flare.server.encryption import CiphertextFilter
from fedgin.flare.server.model import initial_network
from fedgin.train.checkpoint import averaged_weights, save_checkpoint
from fedgin.train.experiment import Experiment
from tests.flare.runs import JOB, lay_out_server, make_context
from tests.flare.server.encrypted import encrypt, make_keys
from tests.flare.server.updates import COUNTS, Server, constant, experiment_for, open_server, send
from tests.places import JOBS

MODALITIES = {"a": "CT", "b": "CT", "c": "MR"}
WEIGHTS = {"a": 300, "b": 20, "c": 7}
VALUES = {"a": 0.5, "b": -2.0, "c": 1.25}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return make_keys(tmp_path_factory.mktemp("keys") / "1.tenseal")


@pytest.fixture
def serve(keys: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("fedgin.flare.server.encryption.server_key", lambda fl_ctx: tenseal.context_from(keys[0]))

    def start(weighting: str = "modality_balanced") -> tuple[Server, Experiment]:
        experiment = experiment_for(client_weighting=weighting, homomorphic_encryption=True)
        return open_server(tmp_path / weighting, experiment), experiment

    return start


def update(experiment: Experiment, site: str, key: bytes, weight: int | None = None) -> Shareable:
    data = constant(experiment, MODALITIES[site], VALUES[site])
    return encrypt(site, send(site, MODALITIES[site], weight or WEIGHTS[site], data), key)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("samples", (300 * 0.5 + 20 * -2.0 + 7 * 1.25) / 327),
        ("uniform", (0.5 - 2.0 + 1.25) / 3),
        ("modality_balanced", 0.5 * (300 * 0.5 + 20 * -2.0) / 320 + 0.5 * 1.25),
    ],
)
def test_the_mean_of_ciphertexts_is_the_mean(
    serve: Any, keys: tuple[bytes, bytes], weighting: str, expected: float
) -> None:
    server, experiment = serve(weighting)
    for site in "abc":
        assert server.accept(update(experiment, site, keys[1], 1 if weighting == "uniform" else None)), server.errors
    mean = from_shareable(server.aggregator.aggregate(server.context))
    assert server.aggregated
    assert mean.get_meta_prop(MetaKey.PROCESSED_KEYS) == dict.fromkeys(mean.data, True)
    site = tenseal.context_from(keys[1])
    for name, shape in shapes(experiment).items():
        with pytest.raises(ValueError, match="secret_key"):
            mean.data[name].decrypt()
        values = tenseal.ckks_vector_from(site, mean.data[name].serialize()).decrypt()
        np.testing.assert_allclose(values, np.full(math.prod(shape), expected), atol=1e-5)


def test_a_site_decrypts_a_model_that_has_entries_which_nobody_sends(
    serve: Any, keys: tuple[bytes, bytes], tmp_path: Path
) -> None:
    """BatchNorm's counters; FLARE's filter looks up whether an entry is encrypted, and fails where it finds nothing."""
    experiment = experiment_for("batch", homomorphic_encryption=True)
    server = open_server(tmp_path / "batch", experiment)
    assert server.accept(update(experiment, "c", keys[1])), server.errors
    mean = from_shareable(server.aggregator.aggregate(server.context))
    model = experiment.initial_network().state_dict()
    assert mean.data.keys() < model.keys()
    dxo = DXO(DataKind.WEIGHTS, {**{name: value.numpy() for name, value in model.items()}, **mean.data}, mean.meta)
    decryptor = HEModelDecryptor()
    decryptor.tenseal_context = tenseal.context_from(keys[1])
    found = decryptor.process_dxo(dxo, Shareable(), FLContext()).data
    for name, value in model.items():
        expected = np.full(value.numel(), VALUES["c"]) if name in mean.data else value.numpy().ravel()
        np.testing.assert_allclose(np.ravel(found[name]), expected, atol=1e-5)


def stored(keys: tuple[bytes, bytes], experiment: Experiment) -> dict[str, Any]:
    """Return the global model as the server of an encrypted job has it between two rounds."""
    server, site = (tenseal.context_from(key) for key in keys)
    model: dict[str, Any] = {n: v.numpy() for n, v in experiment.initial_network().state_dict().items()}
    for name, value in model.items():
        if value.dtype.kind == "f":
            sent = tenseal.ckks_vector(site, value.ravel().astype(float)).serialize()
            model[name] = tenseal.ckks_vector_from(server, sent)
    return model


def resume(folder: Path, keys: tuple[bytes, bytes], experiment: Experiment, model: dict[str, Any]) -> ModelLearnable:
    """Keep a model after round 1, and return the one that the server of the resumed job starts from."""
    context = make_context(lay_out_server(folder, experiment), "server")
    context.set_prop(AppConstants.GLOBAL_MODEL, make_model_learnable(model, {}), private=True, sticky=True)
    context.set_prop(AppConstants.CURRENT_ROUND, 1, private=True, sticky=True)
    config = Path(context.get_engine().get_workspace().get_app_config_dir(JOB))
    keep_checkpoint(context, config / CHECKPOINT)
    values = experiment.model_dump(mode="json") | {"resumes": {"job": "old-job", "round": 2}}
    (config / "experiment.yaml").write_text(yaml.safe_dump(values))
    fresh = initial_network(str(config / "experiment.yaml")).state_dict()
    filter_ = CiphertextFilter()
    filter_.tenseal_context = tenseal.context_from(keys[0])
    learnable = make_model_learnable({name: value.numpy() for name, value in fresh.items()}, {})
    return filter_.process_post_load(learnable, context)


@pytest.mark.parametrize("normalisation", ["instance", "batch"])
def test_the_server_of_a_resumed_job_starts_from_ciphertexts(
    keys: tuple[bytes, bytes], tmp_path: Path, normalisation: str
) -> None:
    experiment = experiment_for(normalisation, homomorphic_encryption=True)
    model = stored(keys, experiment)
    dxo = model_learnable_to_dxo(resume(tmp_path, keys, experiment, model))
    decryptor = HEModelDecryptor()
    decryptor.tenseal_context = tenseal.context_from(keys[1])
    found = decryptor.process_dxo(dxo, Shareable(), FLContext()).data
    for name, value in experiment.initial_network().state_dict().items():
        assert isinstance(model[name], tenseal.CKKSVector) == value.is_floating_point()
        np.testing.assert_allclose(np.ravel(found[name]), value.numpy().ravel(), atol=1e-5)


def test_a_checkpoint_of_another_network_or_without_ciphertexts_is_refused(
    keys: tuple[bytes, bytes], tmp_path: Path
) -> None:
    experiment = experiment_for(homomorphic_encryption=True)
    plain = {name: value.numpy() for name, value in experiment.initial_network().state_dict().items()}
    for number, model in enumerate([plain, dict(list(stored(keys, experiment).items())[1:])]):
        with pytest.raises(WeightsError, match="of another network, or not encrypted"):
            resume(tmp_path / str(number), keys, experiment, model)


def shapes(experiment: Experiment) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in averaged_weights(experiment.initial_network()).items()}


def sent(key: tenseal.Context) -> tenseal.CKKSVector:
    """Return three encrypted values as they arrive: without a secret key."""
    decomposers.register()
    return fobs.loads(fobs.dumps(tenseal.ckks_vector(key, [1.0, 2.0, 3.0])))


def test_what_can_be_seen_of_an_encrypted_update_is_checked(serve: Any, keys: tuple[bytes, bytes]) -> None:
    server, experiment = serve()
    key = tenseal.context_from(keys[1])
    small = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40])
    small.global_scale = 2**20
    name = min(shapes(experiment))
    faults: dict[str, Callable[[DXO], object]] = {
        "is no ciphertext": lambda dxo: dxo.data.update({name: np.zeros(3, np.float32)}),
        "has 3 values, expected": lambda dxo: dxo.data.update({name: sent(key)}),
        "came with the secret key": lambda dxo: dxo.data.update({name: tenseal.ckks_vector(key, [1.0])}),
        "with other parameters": lambda dxo: dxo.data.update({name: sent(small)}),
        f"entry '{name}' is missing": lambda dxo: dxo.data.pop(name),
        "it is not encrypted": lambda dxo: dxo.remove_meta_props([MetaKey.PROCESSED_ALGORITHM]),
        "it claims 300 samples and has": lambda dxo: dxo.set_meta_prop(TRAINED, COUNTS),
    }
    for fault, change in faults.items():
        message = update(experiment, "a", keys[1])
        dxo = from_shareable(message)
        change(dxo)
        assert not server.accept(dxo.update_shareable(message)), fault
        assert fault in server.errors[-1]
    assert server.accept(update(experiment, "a", keys[1])), server.errors


def test_a_job_without_encryption_refuses_a_ciphertext(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    experiment = experiment_for()
    server = open_server(tmp_path, experiment)
    assert not server.accept(update(experiment, "a", keys[1]))
    assert "it is encoded" in server.errors[-1]


def test_a_server_without_key_stops_the_job(tmp_path: Path) -> None:
    server = open_server(tmp_path, experiment_for(homomorphic_encryption=True))
    assert "the server's kit has no server_context.tenseal that can be used" in server.panics[0]


@pytest.fixture
def model(keys: tuple[bytes, bytes], tmp_path: Path) -> Path:
    """The file that FLARE's persistor writes in an encrypted job."""
    key = tenseal.context_from(keys[1])
    values = {
        name: tenseal.ckks_vector(key, value.flatten().double().numpy()).serialize()
        for name, value in averaged_weights(experiment_for().initial_network()).items()
    }
    save_checkpoint(tmp_path / "FL_global_model.pt", {"model": values})
    return tmp_path / "FL_global_model.pt"


def kit(folder: Path, key: bytes) -> Path:
    (folder / "startup").mkdir(parents=True)
    (folder / "startup" / SITE_KEY).write_bytes(key)
    return folder


def test_a_site_reads_the_model(model: Path, keys: tuple[bytes, bytes], tmp_path: Path) -> None:
    experiment = experiment_for()
    found = decrypt_model(model, experiment, kit(tmp_path / "kit", keys[1]))
    for name, value in averaged_weights(experiment.initial_network()).items():
        torch.testing.assert_close(found[name].float(), value, rtol=0, atol=1e-5)


def test_nobody_else_reads_it(model: Path, keys: tuple[bytes, bytes], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no secret key"):
        decrypt_model(model, experiment_for(), kit(tmp_path / "server", keys[0]))
    with pytest.raises(ConfigError, match="can be used"):
        decrypt_model(model, experiment_for(), kit(tmp_path / "damaged", keys[1][:1000]))
    with pytest.raises(ConfigError, match="can be used"):
        decrypt_model(model, experiment_for(), tmp_path / "none")
    _, other = make_keys(tmp_path / "2.tenseal")
    with pytest.raises(WeightsError, match="senseless after decryption"):
        decrypt_model(model, experiment_for(), kit(tmp_path / "other", other))
    assert make_keys(tmp_path / "2.tenseal")[1] == other


def test_the_simulator_has_no_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simulated sites have no key"):
        simulate(load_job(JOBS / "abdomen_fedgin_encrypted"), {}, tmp_path / "run")


def test_a_readable_model_is_no_success_of_an_encrypted_job(tmp_path: Path) -> None:
    job = load_job(JOBS / "abdomen_fedgin_encrypted")
    result = RunResult(tmp_path)
    result.last_model.parent.mkdir()
    save_checkpoint(result.last_model, {"model": averaged_weights(job.experiment.initial_network())})
    assert "the global model is not encrypted: entry 'model.0" in find_model_fault(result.last_model, job)


@pytest.mark.parametrize("normalisation", ["dsbn", "fedbn"])
def test_an_encrypted_update_is_whole(normalisation: str) -> None:
    with pytest.raises(ValueError, match="every weight of every site"):
        experiment_for(normalisation, homomorphic_encryption=True)
