"""The weights that the server starts from, named in a job's ``config_fed_server.json`` for ``PTFileModelPersistor``."""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.train.checkpoint import load_weights
from fedgin.train.experiment import load_experiment
from fedgin.train.initial_model import InitialModel, initial_model
from fedgin.train.pretrained import start_from


def initial_network(experiment: str, models: str | None = None) -> nn.Module:
    """Return the experiment's initial weights, or those of the round that a job resumes after.

    They come from its seed, or from the file that it starts from.

    The module computes nothing: FLARE's persistor asks for one, and reads its state dict.

    Args:
        experiment: path of ``experiment.yaml`` on the server; the network is described there and nowhere else. A
            resumed job has its checkpoint beside it.
        models: the folder with the file that the experiment starts from, where it starts from one.

    Raises:
        FedginError: the network cannot be built, or the checkpoint or the file is missing or damaged, or does not fit.
    """
    settings = load_experiment(Path(experiment))
    network = _as_module(initial_model(settings))
    if settings.starts_from:
        start_from(network, settings.starts_from, Path(models) if models else None)
    if settings.resumes is not None:
        checkpoint = Path(experiment).with_name(CHECKPOINT)
        if read_round(checkpoint) + 1 != settings.resumes.round:
            raise ConfigError(f"{CHECKPOINT} is not of the round before 'resumes.round'", "use 'fedgin resume'")
        if settings.federation.homomorphic_encryption:
            # No network holds ciphertexts: fedgin.flare.server.encryption.CiphertextFilter puts them into the model.
            return network
        load_weights(network, safetensors.torch.load_file(checkpoint), source=CHECKPOINT)
    return network


def _as_module(model: InitialModel) -> nn.Module:
    """Return nested modules that have weights as their state dict, and what is trained as their parameters."""
    root = nn.Module()
    for name, value in model.weights.items():
        *path, entry = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if name in model.trained:
            module.register_parameter(entry, nn.Parameter(torch.tensor(value)))
        else:
            module.register_buffer(entry, torch.tensor(value))
    return root
