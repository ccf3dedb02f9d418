"""The weights that the server starts from, named in a job's ``config_fed_server.json`` for ``PTFileModelPersistor``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.train.checkpoint import load_weights
from fedgin.train.experiment import load_experiment
from fedgin.train.initial_model import initial_model


def initial_network(experiment: str) -> nn.Module:
    """Return the experiment's seeded initial weights, or those of the round that a job resumes after.

    The module computes nothing: FLARE's persistor asks for one, and reads its state dict.

    Args:
        experiment: path of ``experiment.yaml`` on the server; the network is described there and nowhere else. A
            resumed job has its checkpoint beside it.

    Raises:
        FedginError: the network cannot be built, or the checkpoint is missing or damaged, or does not fit.
    """
    settings = load_experiment(Path(experiment))
    network = _as_module(initial_model(settings).weights)
    if settings.resumes is not None:
        checkpoint = Path(experiment).with_name(CHECKPOINT)
        if read_round(checkpoint) + 1 != settings.resumes.round:
            raise ConfigError(f"{CHECKPOINT} is not of the round before 'resumes.round'", "use 'fedgin resume'")
        if settings.federation.homomorphic_encryption:
            # No network holds ciphertexts: fedgin.flare.server.encryption.CiphertextFilter puts them into the model.
            return network
        load_weights(network, safetensors.torch.load_file(checkpoint), source=CHECKPOINT)
    return network


def _as_module(weights: Mapping[str, NDArray[Any]]) -> nn.Module:
    """Return nested modules that have weights as their state dict."""
    root = nn.Module()
    for name, value in weights.items():
        *path, entry = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_buffer(entry, torch.tensor(value))
    return root
