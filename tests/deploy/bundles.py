"""A bundle for tests whose network finds organs by grey value, so that what it should predict is known."""

from pathlib import Path

import torch

from fedgin.data.site import Modality
from fedgin.deploy.bundle import Bundle, read_model, write_bundle
from fedgin.deploy.model_card import write_model_card
from fedgin.train.checkpoint import averaged_weights, save_checkpoint
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import Measured, Participant, Provenance, write_provenance
from tests.sites import tiny_experiment


def write_run(folder: Path, **changes: object) -> Provenance:
    """Write what a finished run leaves: a model and its provenance."""
    base = changes.pop("experiment", None) or tiny_experiment()
    assert isinstance(base, Experiment)
    experiment = Experiment.model_validate(base.model_dump(mode="json") | {"organs": ["liver", "left_kidney"]})
    network = experiment.initial_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    save_checkpoint(folder / "model.pt", {"model": averaged_weights(network)})
    known: dict[str, object] = {
        "kind": "one site",
        "run": "mr_only-7",
        "experiment": experiment,
        "rounds": 3,
        "model": "model.pt",
        "chosen": "The last round's model: nothing was chosen.",
        "participants": [Participant(site="site-1", modality=Modality.CT, training_cases=3, rounds=3)],
        "measured": [
            Measured(modality=Modality.CT, split="test", dice=0.5, interval=(0.4, 0.6), patients=3),
            Measured(modality=Modality.CT, organ="liver", split="test", dice=0.7, patients=3),
        ],
        "volumes_ml": {"liver": (900.0, 2100.0)},
    }
    provenance = Provenance.model_validate(known | changes)
    write_provenance(folder, provenance)
    return provenance


def make_bundle(folder: Path, **changes: object) -> Bundle:
    """Write a run to ``folder/run`` and its bundle to ``folder/bundle``."""
    provenance = write_run(folder / "run", **changes)
    bundle = write_bundle(folder / "bundle", provenance, read_model(folder / "run", provenance))
    write_model_card(bundle, provenance.fault)
    return bundle
