"""Domain-specific batch normalisation, with the modality as the domain (Chang et al., CVPR 2019)."""

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Norm
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

MODALITIES = ("CT", "MR")
EPS = 1e-5
MOMENTUM = 0.1


class DomainBatchNorm(nn.Module):
    """One BatchNorm for each modality, each with an affine part and running statistics of its own.

    The authors normalise a whole batch with the branch of its first sample, so their batches must be of one domain.
    Ours goes by sample: a mixed batch is split by modality and each part is normalised with its own branch. Because
    everything else in a network works on each sample by itself, a mixed batch gives what a CT batch and an MR batch
    through the same convolutions give.

    :func:`route` says before each forward pass which sample is of which modality; it holds for that pass only. The
    branch of a modality that nobody trains keeps its initial statistics, mean 0 and variance 1.

    Args:
        spatial_dims: number of spatial axes of the input.
        channels: the channels of the input.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        norm = Norm[Norm.BATCH, spatial_dims]
        self.branches = nn.ModuleDict({name: norm(channels, eps=EPS, momentum=MOMENTUM) for name in MODALITIES})
        self.modalities: tuple[str, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, *spatial].

        Raises:
            ValueError: no route was given for this pass, or one for a batch of another size.
        """
        modalities, self.modalities = self.modalities, None
        if modalities is None:
            raise ValueError("the modalities of the batch are not known; call route() before each forward pass")
        if len(modalities) != len(x):
            raise ValueError(f"the route names {len(modalities)} samples, but the batch has {len(x)}")
        if len(set(modalities)) == 1:
            return self._normalise(x, modalities[0])
        return self._by_part(x, modalities)

    def _by_part(self, x: Tensor, modalities: Sequence[str]) -> Tensor:
        members = {
            modality: [index for index, name in enumerate(modalities) if name == modality] for modality in MODALITIES
        }
        parts = torch.cat([self._normalise(x[indices], modality) for modality, indices in members.items()])
        order = torch.tensor([index for indices in members.values() for index in indices], device=x.device)
        return parts[order.argsort()]

    def _normalise(self, part: Tensor, modality: str) -> Tensor:
        """One value a channel has no variance: the branch then uses its running statistics and leaves them alone."""
        branch = self.branches[modality]
        assert isinstance(branch, _BatchNorm)
        if part[:, 0].numel() > 1:
            normalised: Tensor = branch(part)
            return normalised
        return F.batch_norm(part, branch.running_mean, branch.running_var, branch.weight, branch.bias, eps=EPS)


def route(network: nn.Module, modalities: Sequence[str]) -> None:
    """Tell a network the modality of each sample of the next batch; networks without domain layers need not know.

    Raises:
        ValueError: a modality is neither CT nor MR.
    """
    unknown = sorted(set(modalities) - set(MODALITIES))
    if unknown:
        raise ValueError(f"there is no normalisation for modality {unknown[0]!r}")
    for layer in network.modules():
        if isinstance(layer, DomainBatchNorm):
            layer.modalities = tuple(modalities)


def branch_entries(network: nn.Module, modality: str) -> set[str]:
    """Return the names of the state-dict entries that belong to one modality's branches."""
    return {
        f"{name}.branches.{modality}.{entry}"
        for name, layer in network.named_modules(remove_duplicate=False)  # DynUNet names its blocks twice
        if isinstance(layer, DomainBatchNorm)
        for entry in layer.branches[modality].state_dict()
    }
