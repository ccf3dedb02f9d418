"""Gradient inversion: find an image whose gradient looks like the update that a site sent.

Cosine distance, total variation and signed Adam steps: Geiping et al., "Inverting gradients", NeurIPS 2020.
Repeating the augmentation's draws is ours. AdamW's first step is the gradient's sign; it is matched with the gradient
too: a smooth sign in its place found less on the phantoms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from fedgin.augment.base import per_sample
from fedgin.augment.filters.random_conv import grouped_conv_net
from fedgin.augment.methods.gin import GIN, GINParams
from fedgin.train.losses import MarginalLoss, Targets

# What the attacker thinks a site computes of an image: one tensor for each entry of the update, with a graph.
Predict = Callable[[Tensor], Sequence[Tensor]]
Look = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Search:
    """How an image is searched for.

    Attributes:
        iterations: steps of Adam; the rate falls tenfold after 3/8, 5/8 and 7/8 of them.
        rate: of the first steps, in units of the z-scored image.
        smoothness: weight of the total variation.
        seed: of the image that is started from.
    """

    iterations: int = 200
    rate: float = 0.1
    smoothness: float = 1e-2
    seed: int = 0


def reconstruct(predict: Predict, update: Sequence[Tensor], shape: Sequence[int], search: Search) -> Tensor:
    """Return the image [1, 1, H, W] whose predicted update points most nearly where ``update`` does."""
    start = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(search.seed))
    image = start.requires_grad_()
    optimizer = torch.optim.Adam([image], lr=search.rate)
    falls = [search.iterations * eighths // 8 for eighths in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, falls, 0.1)
    for _ in range(search.iterations):
        distance = cosine_distance(predict(image), update) + search.smoothness * total_variation(image)
        image.grad = torch.autograd.grad(distance, image)[0].sign()
        optimizer.step()
        schedule.step()
    return image.detach()


def cosine_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return 1 minus the cosine of the angle between two updates, as vectors of all their values."""
    one, other = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return 1 - torch.cosine_similarity(one, other, dim=0)


def total_variation(image: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours (anisotropic) of an image [B, C, H, W]."""
    return image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()


@dataclass(frozen=True)
class Guess:
    """What the attacker knows of a site's step.

    Attributes:
        network: the received model.
        loss: of the experiment.
        targets: the labels of the slice; a real attacker would have to guess them.
        entries: the parameters that the update tells about.
        look: how the site changed the image before it trained on it.
    """

    network: nn.Module
    loss: MarginalLoss
    targets: Targets
    entries: Sequence[str]
    look: Look = lambda image: image

    def gradient_step(self, image: Tensor) -> list[Tensor]:
        """Return the direction of a step of gradient descent on an image: minus the gradient, by entry."""
        parameters = dict(self.network.named_parameters())
        loss = self.loss(self.network(self.look(image)), self.targets)
        gradients = torch.autograd.grad(loss, [parameters[entry] for entry in self.entries], create_graph=True)
        return [-gradient for gradient in gradients]


def known_draw(method: GIN, params: GINParams) -> Look:
    """Return GIN with given random numbers as a function that has a gradient, for an attacker who repeats the draws.

    The package's own way on the CPU works in place. Equal to it up to rounding.
    """

    def look(image: Tensor) -> Tensor:
        drawn = grouped_conv_net(image, params.layers, slope=method.slope, padding=method.padding)
        mixed = torch.lerp(image, drawn, per_sample(params.alpha, image.dim()))
        scale = torch.linalg.vector_norm(image) / (torch.linalg.vector_norm(mixed) + 1e-5)
        return mixed.mul(scale)

    return look


@dataclass(frozen=True)
class Likeness:
    """How like a reconstruction is to a slice; 1 is the same up to brightness and contrast.

    Attributes:
        correlation: Pearson's.
        ssim: structural similarity (Wang et al. 2004) after both were brought to mean 0 and standard deviation 1.
    """

    correlation: float
    ssim: float


def likeness(reconstruction: Tensor, image: Tensor) -> Likeness:
    """Compare two images [1, 1, H, W]; the network normalises brightness and contrast away, so they do not count."""
    one, other = (_standardised(part) for part in (reconstruction, image))
    span = float(other.max() - other.min())
    ssim = structural_similarity(one.numpy(), other.numpy(), data_range=span)
    return Likeness(float((one * other).mean()), float(ssim))


def _standardised(image: Tensor) -> Tensor:
    plane = image[0, 0].detach().double()
    return (plane - plane.mean()) / (plane.std(correction=0) + 1e-12)
