"""The memory of a training step, counted storage by storage on PyTorch's meta device, which computes nothing."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedgin.nets.without_memory import without_memory
from fedgin.train.experiment import Experiment
from fedgin.train.losses import Targets, build_loss


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that exist at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def step_bytes(experiment: Experiment) -> int:
    """Return the most bytes that a step of an experiment holds at once, beside its images."""
    with without_memory():
        network = experiment.initial_network().train()
    optimizer = torch.optim.AdamW(network.parameters())
    batch, size, classes = experiment.training.batch_size, experiment.preprocessing.network_size, experiment.classes
    image = torch.empty(batch, 1, *size, device="meta")
    label = torch.zeros(batch, 1, *size, dtype=torch.int64, device="meta")
    # Where an organ is not labelled the loss needs more: whether it is, nobody asks the meta device.
    labelled = torch.tensor([[True] * (classes - 1) + [False]] * batch)
    with LiveBytes() as live:
        live.now = live.peak = sum(4 * weights.numel() for weights in network.parameters())
        logits = network(image)
        assert logits.shape == (batch, classes, *size)
        build_loss(experiment.loss)(logits, Targets(label, labelled)).backward()
        optimizer.step()
    return live.peak
