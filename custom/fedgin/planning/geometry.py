"""Voxels, slices or patches, and how much of a case the network sees: nnU-Net's rules on what sites share.

Isensee et al. (Nature Methods 18, 203-211, 2021): the spacing is the median of all cases; where it is anisotropic by
more than 3, its coarsest axis has percentile 10. The patch begins as the median case and is made smaller along its
relatively largest axis, until a batch of two can be trained with the given memory. What is left goes into the batch, of
at most 5 % of all training voxels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fedgin.data.limits import Limits
from fedgin.data.preprocessing_settings import LARGEST_SIDE, SIDE_STEP
from fedgin.errors import ConfigError
from fedgin.planning.decision import HERE, NNUNET, Decision, numbers
from fedgin.planning.fingerprints import Fingerprint
from fedgin.planning.memory import training_bytes
from fedgin.planning.pooling import pool
from fedgin.planning.spacing import body_groups, choose_dimensions, groups_of, volume_spacing, within_volume
from fedgin.planning.topology import Topology, plan_topology
from fedgin.train.experiment import LARGEST_BATCH

NumberT = TypeVar("NumberT", int, float)
SMALLEST_BATCH = 2
MOST_OF_ALL = 0.05
# A longer side is a multiple of 32, so that it can be halved five times.
LONG_SIDE, LONG_STEP = 128, 32
GIGABYTE = 1e9


@dataclass(frozen=True)
class Geometry:
    """What the network sees.

    Attributes:
        spacing_mm: of volumes along the RAS+ axes, of slices one number.
        size: in the same order, of slices in plane.
        batch_size: samples in a step.
        topology: of the network, with its axes in the order that it sees them.
        decisions: how each came about.
    """

    spacing_mm: tuple[float, ...]
    size: tuple[int, ...]
    batch_size: int
    topology: Topology
    decisions: tuple[Decision, ...]

    @property
    def covers_mm(self) -> tuple[float, ...]:
        """What a slice or a patch covers along its axes."""
        steps = self.spacing_mm if len(self.size) == 3 else self.spacing_mm * 2
        return tuple(side * step for side, step in zip(self.size, steps, strict=True))


def plan_geometry(sites: Sequence[Fingerprint], *, classes: int, memory_gb: float, dimensions: int | None) -> Geometry:
    """Plan spacing, size, network and batch.

    Args:
        sites: at least one of which shares numbers.
        classes: outputs of the network.
        memory_gb: what a training step may take, in 1e9 bytes.
        dimensions: 2 or 3; ``None`` leaves it to the rule.

    Raises:
        ConfigError: not even the smallest batch fits into the memory.
    """
    known = [site for site in sites if site.training_cases]
    spacing, why_spacing = within_volume(known, *volume_spacing(known))
    # Larger voxels make fewer slices.
    found, why = choose_dimensions(known, spacing[2], dimensions)
    if found == 2:
        return _plan_slices(known, classes, memory_gb, why)
    shape = [pool(body_groups(known, axis), 50.0) / step for axis, step in zip(("x", "y", "z"), spacing, strict=True)]
    size, topology = _fit_patch(shape, spacing, classes, memory_gb)
    batch, why_batch = _batch(size, topology, classes, memory_gb, _voxels(known, shape))
    decisions = (why, why_spacing, _patch(size, shape, memory_gb), *_network(topology), why_batch)
    return Geometry(spacing, size, batch, topology, decisions)


def _patch(size: Sequence[int], shape: Sequence[float], memory_gb: float) -> Decision:
    """Say how much of the median case a patch covers."""
    covered = math.prod(min(1.0, side / whole) for side, whole in zip(size, shape, strict=True))
    largest = "" if covered == 1.0 else f", the largest for which two fit into {memory_gb:g} GB"
    median = numbers([round(side) for side in shape])
    return Decision("size", numbers(size), f"covers {covered:.0%} of the median case, {median} voxels{largest}", NNUNET)


def _plan_slices(known: Sequence[Fingerprint], classes: int, memory_gb: float, why: Decision) -> Geometry:
    in_plane = [*groups_of(known, "spacing_mm", 0), *groups_of(known, "spacing_mm", 1)]
    median = spacing = round(pool(in_plane, 50.0), 2)
    body = [max(group.largest() for group in body_groups(known, axis)) for axis in ("x", "y")]
    while True:
        # A slice is never cut to fit: its pixels grow.
        size = tuple(_rounded_up(side / spacing) for side in body)
        topology = plan_topology(size, (spacing, spacing))
        if max(size) <= LARGEST_SIDE and _fits(size, topology, classes, SMALLEST_BATCH, memory_gb):
            break
        if max(size) == SIDE_STEP:
            raise _too_little(size, topology, classes, memory_gb)
        spacing = round(spacing * 1.1, 2)
    area = math.prod(side / spacing for side in body)
    batch, why_batch = _batch(size, topology, classes, memory_gb, area * _slices(known))
    coarser = "" if spacing == median else f", made coarser until two slices fit into {memory_gb:g} GB"
    pixels = Decision("spacing_mm", f"{spacing:g}", f"median pixel {median:g} mm{coarser}", NNUNET)
    reason = (
        f"holds {numbers([round(side) for side in body])} mm, the highest percentile of a body that any site shares"
    )
    whole = Decision("size", numbers(size), reason, HERE)
    return Geometry((spacing,), size, batch, topology, (why, pixels, whole, *_network(topology), why_batch))


def _fit_patch(
    shape: Sequence[float], spacing: Sequence[float], classes: int, memory_gb: float
) -> tuple[tuple[int, ...], Topology]:
    """Shrink the median case along its relatively largest axis until a batch of two fits."""
    size = [min(LARGEST_SIDE, _rounded_up(side)) for side in shape]
    while True:
        topology = plan_topology(_seen(size), _seen(spacing))
        if _fits(size, topology, classes, SMALLEST_BATCH, memory_gb):
            return tuple(size), topology
        longer = [axis for axis in range(3) if size[axis] > SIDE_STEP]
        if not longer:
            raise _too_little(size, topology, classes, memory_gb)
        axis = max(longer, key=lambda axis: size[axis] / shape[axis])
        size[axis] -= LONG_STEP if size[axis] > LONG_SIDE else SIDE_STEP


def _batch(
    size: Sequence[int], topology: Topology, classes: int, memory_gb: float, voxels: float
) -> tuple[int, Decision]:
    pixels = math.prod(size)
    share = max(SMALLEST_BATCH, round(MOST_OF_ALL * voxels / pixels))
    most = min(share, LARGEST_BATCH)
    batch = SMALLEST_BATCH
    while batch < most and _fits(size, topology, classes, batch + 1, memory_gb):
        batch += 1
    needed = _gigabytes(size, topology, classes, batch)
    bounds = {share: "5 % of the training voxels", LARGEST_BATCH: "what a job may say"}
    bound = bounds.get(batch, "the memory, or a site's limits by default")
    reason = f"a step takes {needed:.1f} of {memory_gb:g} GB at most; bound by {bound}"
    return batch, Decision("batch_size", str(batch), reason, NNUNET)


def _network(topology: Topology) -> tuple[Decision, ...]:
    strides = ", ".join(numbers(level) for level in topology.strides)
    kernels = ", ".join(numbers(level) for level in topology.kernels)
    first, last = topology.channels[0], topology.channels[-1]
    depth = f"an axis is halved until it has 4 voxels or is odd; {first} channels, doubled to {last}"
    return (
        Decision("channels", f"{topology.levels} levels", depth, NNUNET),
        Decision("strides", strides, "a coarser axis waits until the others are within 2 of it", NNUNET),
        Decision("kernel_sizes", kernels, "1 along an axis twice as coarse as the finest, else 3", NNUNET),
    )


def _fits(size: Sequence[int], topology: Topology, classes: int, batch: int, memory_gb: float) -> bool:
    """Tell whether a batch keeps to the memory, and to what a site's limits allow by default."""
    allowed = batch * math.prod(size) <= Limits().batch_pixels
    return allowed and _gigabytes(size, topology, classes, batch) <= memory_gb


def _gigabytes(size: Sequence[int], topology: Topology, classes: int, batch: int) -> float:
    return training_bytes(_seen(size), topology, classes=classes, batch=batch) / GIGABYTE


def _too_little(size: Sequence[int], topology: Topology, classes: int, memory_gb: float) -> ConfigError:
    needed = _gigabytes(size, topology, classes, SMALLEST_BATCH)
    return ConfigError(
        f"--memory {memory_gb:g}: a step of two samples of {numbers(size)} takes {needed:.2f} GB",
        "give more memory, or fewer organs",
    )


def _seen(values: Sequence[NumberT]) -> tuple[NumberT, ...]:
    """Order (X, Y, Z) as the network sees it: (Z, X, Y)."""
    return tuple(values[-1:]) + tuple(values[:-1]) if len(values) == 3 else tuple(values)


def _slices(known: Sequence[Fingerprint]) -> float:
    return sum(site.training_cases * (site.training.slices or {})["p50"] for site in known)


def _voxels(known: Sequence[Fingerprint], shape: Sequence[float]) -> float:
    return math.prod(shape) * sum(site.training_cases for site in known)


def _rounded_up(side: float) -> int:
    """Return the next side that a network may see, of a whole number of pixels."""
    step = SIDE_STEP if side <= LONG_SIDE else LONG_STEP
    return max(step, math.ceil(round(side) / step) * step)
