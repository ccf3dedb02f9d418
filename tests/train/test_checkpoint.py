import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from fedgin.errors import WeightsError
from fedgin.nets.registry import build_network
from fedgin.nets.settings import NetworkSettings, Normalisation
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, load_weights, save_checkpoint


def network(normalisation: Normalisation = "instance", seed: int = 0) -> nn.Module:
    return build_network(NetworkSettings(normalisation=normalisation), spatial_dims=2, out_channels=3, seed=seed)


def test_weights_survive_the_file(tmp_path: Path) -> None:
    source, target = network(seed=1), network(seed=2)
    save_checkpoint(tmp_path / "m.pt", {"model": source.state_dict(), "round": 3})
    saved = load_checkpoint(tmp_path / "m.pt")
    load_weights(target, saved["model"], source="m.pt")
    assert saved["round"] == 3
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("fault", ["is missing", "does not belong", "has shape", "NaN or infinity"])
def test_weights_that_do_not_fit_are_named_and_change_nothing(fault: str) -> None:
    target = network(seed=2)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    weights = dict(network(seed=1).state_dict())
    name = next(iter(weights))
    if fault == "is missing":
        del weights[name]
    elif fault == "does not belong":
        weights["extra"] = torch.zeros(1)
    elif fault == "has shape":
        weights[name] = weights[name][:1, :1, :1, :1]
    else:
        weights[name] = weights[name].clone().index_put((torch.tensor(0),), torch.tensor(float("nan")))
    with pytest.raises(WeightsError, match=fault) as caught:
        load_weights(target, weights, source="round 4")
    assert str(caught.value).startswith("round 4: entry '")
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_integer_buffers_stay_the_networks_own() -> None:
    target = network("batch")
    weights = {key: value + 7 for key, value in target.state_dict().items()}
    load_weights(target, weights, source="x")
    counters = [value for key, value in target.state_dict().items() if "num_batches" in key]
    assert counters
    assert all(int(value) == 0 for value in counters)
    assert not any("num_batches" in key for key in averaged_weights(target))


class Payload:
    """Leaves a file behind when it is unpickled by a loader that runs code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_a_payload_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / "m.pt"
    if legacy:
        path.write_bytes(pickle.dumps({"model": Payload(trace)}))
    else:
        torch.save({"model": Payload(trace)}, path)
    with pytest.raises(WeightsError, match=r"m\.pt is damaged or holds more than plain weights"):
        load_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        load_checkpoint(tmp_path / "m.pt")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    save_checkpoint(path, {"round": 1})
    with pytest.raises((WeightsError, AttributeError, TypeError)):
        save_checkpoint(path, {"round": lambda: None})
    assert load_checkpoint(path)["round"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"]
