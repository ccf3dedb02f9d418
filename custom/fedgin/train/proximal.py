"""FedProx's term: a site's weights are drawn to those that it received."""

import torch
from torch import Tensor, nn


class ProximalLoss(nn.Module):
    """Add mu / 2 * ||w - w_received||^2 over all trained weights to another loss.

    Source: Li et al., "Federated optimization in heterogeneous networks", MLSys 2020, arXiv 1812.06127, equation 2.
    FLARE has the same as ``PTFedProxLoss``; training knows nothing of FLARE, so a test holds the two equal.

    Args:
        loss: maps outputs and targets to a scalar.
        network: trained from now on; its present weights are the ones received.
        mu: the weight, above 0.
    """

    def __init__(self, loss: nn.Module, network: nn.Module, mu: float) -> None:
        super().__init__()
        self.loss = loss
        self.mu = mu
        # A list: as children of this module they would count among what it trains.
        self.pairs = [(weights, weights.detach().clone()) for weights in network.parameters()]

    def forward(self, outputs: Tensor, targets: object) -> Tensor:
        """Return the sum of both."""
        squares = [(weights - received).square().sum() for weights, received in self.pairs]
        loss: Tensor = self.loss(outputs, targets)
        return loss + 0.5 * self.mu * torch.stack(squares).sum()
