"""A run's initial weights, built in a process that ends with the answer: ``python -m fedgin.train.initial_model``.

Networks are built with MONAI. FLARE's server, which only adds up, would keep its 200 MB for as long as a job runs.
"""

import functools
import io
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fedgin import launch
from fedgin.data.site import Modality
from fedgin.errors import FedginError, unforeseen
from fedgin.processes import own_output
from fedgin.train.experiment import Experiment
from fedgin.train.site.messages import Message, error_message, read_message, told_error, write_message


@dataclass(frozen=True)
class InitialModel:
    """What a server must know of an experiment's network.

    Attributes:
        weights: each entry of the state dict, once, with its initial value.
        sent: by modality, the names of the entries of a site's update; see :mod:`fedgin.train.site.sent_entries`.
        trained: names of the entries that an optimiser moves; the others are statistics and counters.
    """

    weights: Mapping[str, NDArray[Any]]
    sent: Mapping[str, list[str]]
    trained: Collection[str]

    def sent_shapes(self, modality: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the entries of an update from a site of a modality, by name."""
        return {name: self.weights[name].shape for name in self.sent[modality]}


def initial_model(experiment: Experiment) -> InitialModel:
    """Build an experiment's network in a process of its own; the latest answer is kept.

    Raises:
        FedginError: the network or its augmentation has no such name or parameter, or the process died.
    """
    return _initial_model(experiment.model_dump_json())


@functools.lru_cache(maxsize=1)
def _initial_model(experiment: str) -> InitialModel:
    answer = ask(experiment)
    if answer.kind == "error":
        raise told_error(answer)
    return InitialModel(answer.arrays, answer.values["sent"], answer.values["trained"])


def ask(experiment: str) -> Message:
    """Return what a new process answers to an experiment, which is JSON: see :func:`answer_to`.

    Raises:
        FedginError: it ended without an answer.
    """
    told, code = launch.ask("fedgin.train.initial_model", experiment.encode())
    answer = read_message(io.BytesIO(told))
    if answer is None:
        raise FedginError(
            f"building the network's initial weights ended with code {code}",
            "run 'fedgin doctor' here; look for 'out of memory' in the system log",
        )
    return answer


def answer_to(experiment: str) -> Message:
    """Return the weights and names of an :class:`InitialModel`, or an error."""
    # Not above: who asks must not load PyTorch.
    from fedgin.train.checkpoint import unique_entries
    from fedgin.train.site.sent_entries import sent_entries

    try:
        settings = Experiment.model_validate_json(experiment)
        network = settings.initial_network()
    except Exception as error:
        return error_message(error if isinstance(error, FedginError) else unforeseen(error, "initial weights"))
    normalisation = settings.network.normalisation
    sent = {modality.value: sorted(sent_entries(network, normalisation, modality)) for modality in Modality}
    names = {"sent": sent, "trained": [name for name, _ in network.named_parameters()]}
    return Message("done", names, {name: value.numpy() for name, value in unique_entries(network).items()})


def main() -> None:
    """Answer on standard output to the experiment on standard input."""
    write_message(own_output(), answer_to(sys.stdin.read()))


if __name__ == "__main__":
    main()
