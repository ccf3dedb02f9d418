"""The network that the server starts from, named in a job's ``config_fed_server.json`` for ``PTFileModelPersistor``."""

from pathlib import Path

import safetensors.torch
from torch import nn

from fedgin.errors import ConfigError
from fedgin.flare.jobs.checkpoint import CHECKPOINT, read_round
from fedgin.train.checkpoint import load_weights
from fedgin.train.experiment import load_experiment


def initial_network(experiment: str) -> nn.Module:
    """Build the experiment's network with its seeded initial weights, or those of the round that a job resumes after.

    Args:
        experiment: path of ``experiment.yaml`` on the server; the network is described there and nowhere else. A
            resumed job has its checkpoint beside it.

    Raises:
        FedginError: the checkpoint is missing or damaged, or does not fit.
    """
    settings = load_experiment(Path(experiment))
    network = settings.initial_network()
    if settings.resumes is not None:
        checkpoint = Path(experiment).with_name(CHECKPOINT)
        if read_round(checkpoint) + 1 != settings.resumes.round:
            raise ConfigError(f"{CHECKPOINT} is not of the round before 'resumes.round'", "use 'fedgin resume'")
        if settings.federation.homomorphic_encryption:
            # No network holds ciphertexts: fedgin.flare.server.encryption.CiphertextFilter puts them into the model.
            return network
        load_weights(network, safetensors.torch.load_file(checkpoint), source=CHECKPOINT)
    return network
