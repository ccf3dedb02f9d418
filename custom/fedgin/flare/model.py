"""The network that the server starts from, named in a job's ``config_fed_server.json`` for ``PTFileModelPersistor``."""

from pathlib import Path

from torch import nn

from fedgin.train.experiment import load_experiment


def initial_network(experiment: str) -> nn.Module:
    """Build the experiment's network with its seeded initial weights.

    Args:
        experiment: path of ``experiment.yaml`` on the server; the network is described there and nowhere else.
    """
    return load_experiment(Path(experiment)).initial_network()
