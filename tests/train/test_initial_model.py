"""The process that builds the weights a run starts from."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fedgin.data.site import Modality
from fedgin.errors import ConfigError, FedginError
from fedgin.fork_server import SOCKET
from fedgin.train import initial_model as module
from fedgin.train.checkpoint import averaged_weights, load_weights, unique_entries
from fedgin.train.experiment import Experiment
from fedgin.train.initial_model import initial_model
from fedgin.train.site.sent_entries import sent_entries
from tests.sites import tiny_experiment

ASK = module.ask


def with_network(name: str = "unet", normalisation: str = "dsbn") -> Experiment:
    return tiny_experiment(network={"name": name, "normalisation": normalisation, "params": {"channels": [4, 8]}})


def test_another_process_builds_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ask", ASK)
    experiment = with_network()
    found, network = initial_model(experiment), experiment.initial_network()
    expected = {name: value.numpy() for name, value in unique_entries(network).items()}
    assert found.weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found.weights[name], value, strict=True)
    for modality in Modality:
        names = sent_entries(network, "dsbn", modality)
        shapes = {name: tuple(value.shape) for name, value in averaged_weights(network).items() if name in names}
        assert found.sent_shapes(modality.value) == shapes


def test_a_network_that_names_its_blocks_twice_is_sent_once() -> None:
    """MONAI's DynUNet holds its blocks in lists, and in the tree that it runs."""
    network = tiny_experiment(network={"name": "dynunet", "params": {"channels": [4, 8, 8]}}).initial_network()
    sent = {name: value.clone() for name, value in averaged_weights(network).items()}
    assert sum(value.numel() for value in sent.values()) == sum(value.numel() for value in network.parameters())
    assert len(network.state_dict()) > len(sent)
    load_weights(network, {name: value + 1.0 for name, value in sent.items()}, source="x")
    moved = [torch.equal(value, sent[name] + 1.0) for name, value in averaged_weights(network).items()]
    assert all(moved)


def test_what_is_wrong_with_a_job_is_told_as_where_its_network_is_built() -> None:
    experiment = tiny_experiment(augmentation={"name": "method_of_nobody"})
    with pytest.raises(ConfigError) as here:
        experiment.initial_network()
    with pytest.raises(FedginError) as told:
        initial_model(experiment)
    assert str(told.value) == str(here.value)


def test_a_process_that_dies_is_an_error_and_not_asked_of_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "python").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(module, "ask", ASK)
        patched.delenv(SOCKET, raising=False)
        patched.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(FedginError, match="initial weights ended with code -9"):
            initial_model(with_network(normalisation="batch"))
    assert initial_model(with_network(normalisation="batch")).weights
