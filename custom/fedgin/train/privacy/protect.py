"""Protect one update: withhold layers, clip, add noise, send the largest values only. Nothing here knows a file.

Always in this order. Noise comes after clipping, because clipping bounds what it has to hide; everything after the
noise is post-processing and weakens no guarantee (Dwork and Roth 2014, proposition 2.1).
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.errors import PrivacyError

Normals = Callable[[int], NDArray[np.float64]]
# Room for the rounding of a clipped update to float32: its relative error is 2**-24 a value.
ROUNDING = 1.0 - 2.0**-20


@dataclass(frozen=True)
class Protected:
    """An update as it may leave, and what was done to it.

    Attributes:
        difference: float32, by state-dict name; excluded entries are absent.
        summary: one line for the site's own log; the norm in it comes from the data and must not leave.
    """

    difference: dict[str, Tensor]
    summary: str


def protect(
    update: Mapping[str, Tensor],
    received: Mapping[str, Tensor],
    privacy: Privacy,
    *,
    normals: Normals | None = None,
) -> Protected:
    """Apply the site's settings to an update.

    Args:
        update: trained minus received weights, float32 on the CPU, by state-dict name.
        received: the global model. It tells which layers there are, also those that the job's method keeps at the site,
            and keeps the variances of BatchNorm from becoming negative.
        privacy: the site's settings.
        normals: draws that many standard normal numbers; for tests. By default :func:`secure_normals`.

    Raises:
        PrivacyError: NaN or infinity in the update, or an excluded layer that does not exist.
    """
    names = sent_names(update, privacy, network=received)
    values = torch.cat([update[name].flatten() for name in names]).numpy()
    if not np.isfinite(values).all():
        raise PrivacyError("the update holds NaN or infinity", "lower training.learning_rate; nothing was sent")
    done = [f"{len(update) - len(names)} of {len(update)} entries withheld"] if privacy.exclude_layers else []
    if privacy.clip_norm is not None:
        done.append(f"norm {norm(values):.4g} clipped to {privacy.clip_norm:g}")
        values = clip(values, privacy.clip_norm)
    if privacy.clip_norm is not None and privacy.noise_multiplier is not None:
        deviation = privacy.noise_multiplier * privacy.clip_norm
        done.append(f"Gaussian noise of {deviation:.4g} added to each of {values.size} values")
        values = (values + deviation * (normals or secure_normals)(values.size)).astype(np.float32)
    if privacy.keep_largest_percent is not None:
        done.append(f"largest {privacy.keep_largest_percent:g} % kept")
        values = keep_largest(values, privacy.keep_largest_percent)
    difference = _split(values, {name: update[name].shape for name in names})
    return Protected(_without_negative_variances(difference, received), "; ".join(done))


def sent_names(names: Iterable[str], privacy: Privacy, *, network: Collection[str]) -> list[str]:
    """Return the entries that are sent.

    Args:
        names: what the job's method would send.
        privacy: the site's settings.
        network: all entries of the network that may travel. A layer that the method keeps at the site anyway, as FedBN
            does, may be excluded, too.

    Raises:
        PrivacyError: an excluded layer matches no entry, so it would protect nothing, or nothing is left to send.
    """
    for layer in privacy.exclude_layers:
        if not any(_belongs(name, layer) for name in network):
            raise PrivacyError(
                f"privacy.exclude_layers: the job's network has no layer '{layer}'",
                f"correct the name; the network's entries begin with {', '.join(sorted(network)[:3])}",
            )
    sent = [name for name in names if not any(_belongs(name, layer) for layer in privacy.exclude_layers)]
    if not sent:
        raise PrivacyError("privacy.exclude_layers leaves nothing to send", "exclude fewer layers")
    return sent


def norm(values: NDArray[np.float32]) -> float:
    """Return the L2 norm, summed in double precision."""
    return float(np.linalg.norm(values.astype(np.float64)))


def clip(values: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
    """Scale the values down to an L2 norm of at most ``limit``, also after rounding; leave smaller ones."""
    length = norm(values)
    if length <= limit:
        return values
    return (values.astype(np.float64) * (limit / length * ROUNDING)).astype(np.float32)


def keep_largest(values: NDArray[np.float32], percent: float) -> NDArray[np.float32]:
    """Set all but the largest ``percent`` of the values, by magnitude, to 0.

    That is ceil(n * percent / 100) of n values; of equal ones the first are kept.
    """
    count = int(np.ceil(values.size * percent / 100.0))
    kept = np.argsort(-np.abs(values), kind="stable")[:count]
    result = np.zeros_like(values)
    result[kept] = values[kept]
    return result


def secure_normals(count: int) -> NDArray[np.float64]:
    """Draw standard normal numbers from the operating system's cryptographic generator.

    Not from the run's hashed streams (:mod:`fedgin.seeds`): the job's seed is known to the server, which could compute
    the noise and subtract it. Nor from PyTorch's CPU generator, which keeps 32 bits of a seed: few enough to try all.
    """
    bits = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    # 52 bits and a half lie strictly between 0 and 1 in double precision; with 53 the upper end would round to 1.
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    result: NDArray[np.float64] = ndtri(uniform)
    return result


def _belongs(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def _split(values: NDArray[np.float32], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    parts = np.split(values, np.cumsum([shape.numel() for shape in shapes.values()])[:-1])
    pairs = zip(shapes.items(), parts, strict=True)
    return {name: torch.from_numpy(part.copy()).reshape(shape) for (name, shape), part in pairs}


def _without_negative_variances(difference: dict[str, Tensor], received: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep received + difference of BatchNorm's variances at 0 or above; noise would make its square root NaN."""
    return {
        name: torch.maximum(value, -received[name]) if name.endswith("running_var") else value
        for name, value in difference.items()
    }
