"""A run starts from a file of weights that everybody has, or says what does not fit."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from fedgin.errors import ConfigError, WeightsError
from fedgin.nets.settings import Pretrained
from fedgin.train.checkpoint import averaged_weights
from fedgin.train.pretrained import start_from
from fedgin.train.standalone import StandaloneRun, train_standalone
from tests.sites import tiny_experiment

NAME = "earlier.safetensors"


def small(outputs: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, outputs, 1))


def keep(models: Path, weights: Mapping[str, Tensor], leave_out: list[str] | None = None) -> Pretrained:
    """Write a file of weights; return what a job says of it."""
    models.mkdir(exist_ok=True)
    content = safetensors.torch.save(dict(weights))
    (models / NAME).write_bytes(content)
    return Pretrained(file=NAME, sha256=hashlib.sha256(content).hexdigest(), leave_out=leave_out or [])


def refusal(network: nn.Module, pretrained: Pretrained, models: Path) -> str:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        start_from(network, pretrained, models)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_network_starts_with_the_values_of_the_file(tmp_path: Path, dtype: torch.dtype) -> None:
    there = {name: value.to(dtype) for name, value in averaged_weights(small(seed=1)).items()}
    network = small()
    start_from(network, keep(tmp_path, there), tmp_path)
    for name, value in averaged_weights(network).items():
        assert value.dtype == torch.float32
        assert torch.equal(value, there[name].float())


def test_counters_of_the_file_are_not_taken(tmp_path: Path) -> None:
    other = small(seed=1)
    other(torch.zeros(2, 1, 8, 8))
    network = small()
    start_from(network, keep(tmp_path, other.state_dict()), tmp_path)
    assert int(network.state_dict()["1.num_batches_tracked"]) == 0
    assert torch.equal(network.state_dict()["1.running_var"], other.state_dict()["1.running_var"])


def test_what_is_left_out_starts_from_the_seed_although_it_would_fit(tmp_path: Path) -> None:
    there, network = averaged_weights(small(seed=1)), small()
    before = {name: value.clone() for name, value in averaged_weights(network).items()}
    start_from(network, keep(tmp_path, there, ["2"]), tmp_path)
    for name, value in averaged_weights(network).items():
        assert torch.equal(value, before[name] if name.startswith("2.") else there[name])


def test_all_entries_that_do_not_fit_are_listed_and_can_be_left_out_by_name(tmp_path: Path) -> None:
    there = {name: value for name, value in averaged_weights(small(outputs=5, seed=1)).items() if name != "0.bias"}
    there["decoder.weight"] = torch.zeros(2)
    said = refusal(small(), keep(tmp_path, there), tmp_path)
    assert (
        f"{NAME} does not fit the network: '0.bias' is missing; '2.bias' has shape [5], the network needs [3];" in said
    )
    assert "'2.weight' has shape [5, 4, 1, 1]" in said
    assert "'decoder.weight' does not belong to the network" in said
    network = small()
    start_from(network, keep(tmp_path, there, ["2", "0.bias", "decoder"]), tmp_path)
    assert torch.equal(averaged_weights(network)["0.weight"], there["0.weight"])


def test_a_name_that_leaves_nothing_out_is_refused(tmp_path: Path) -> None:
    said = refusal(small(), keep(tmp_path, averaged_weights(small()), ["head"]), tmp_path)
    assert f"neither {NAME} nor the network has 'head'" in said


def test_another_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    pretrained = keep(tmp_path / "models", averaged_weights(small()))
    (tmp_path / "models" / NAME).write_bytes(b"anything else")
    said = refusal(small(), pretrained, tmp_path / "models")
    assert f"models/{NAME} is not the file that the job starts from: its SHA-256 is" in said
    assert str(tmp_path.parent) not in said
    (tmp_path / "models" / NAME).unlink()
    assert "the weights that the job starts from are not there" in refusal(small(), pretrained, tmp_path / "models")


@pytest.mark.parametrize("content", [b"", b"anything", b"\xff" * 16, b"\x80\x04cos\nsystem\n"])
def test_a_file_that_holds_no_weights_is_refused_though_its_hash_is_right(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    pretrained = Pretrained(file=NAME, sha256=hashlib.sha256(content).hexdigest())
    assert "is damaged, or no safetensors file" in refusal(small(), pretrained, tmp_path)


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    there = averaged_weights(small(seed=1))
    there["2.bias"] = torch.full((3,), torch.nan)
    assert "entry '2.bias' holds NaN or infinity" in refusal(small(), keep(tmp_path, there), tmp_path)


@pytest.mark.parametrize("name", ["../x.safetensors", "x.pt", ".safetensors", "a/b.safetensors", "x.safetensors\n"])
def test_a_name_is_that_of_a_safetensors_file_in_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="file"):
        Pretrained(file=name, sha256="0" * 64)


def test_a_run_without_a_federation_starts_from_the_file_and_needs_its_folder(tmp_path: Path) -> None:
    there = averaged_weights(tiny_experiment(seed=5).initial_network())
    network = tiny_experiment().network.model_dump() | {"pretrained": keep(tmp_path, there).model_dump()}
    experiment = tiny_experiment(network=network)
    cpu = torch.device("cpu")
    trained = train_standalone(experiment, StandaloneRun("a", [], 0, tmp_path / "alone.pt", tmp_path), cpu)
    assert all(torch.equal(value, there[name]) for name, value in averaged_weights(trained).items())
    with pytest.raises(ConfigError, match=f"starts from '{NAME}', and no folder of models is given. Fix: .* --models"):
        train_standalone(experiment, StandaloneRun("a", [], 0, tmp_path / "alone.pt"), cpu)


def test_a_job_that_resumes_or_evaluates_does_not_need_the_file() -> None:
    network = {"pretrained": {"file": NAME, "sha256": "0" * 64}}
    resumes = {"job": "j", "round": 2}
    evaluates = {"name": "b", "sha256": "1" * 64, "modalities": ["CT"]}
    assert tiny_experiment(network=network).starts_from is not None
    assert tiny_experiment(network=network, resumes=resumes).starts_from is None
    assert tiny_experiment(network=network, evaluates=evaluates).starts_from is None
