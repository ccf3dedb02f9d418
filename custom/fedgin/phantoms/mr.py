"""MR images of phantom tissues."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.fields import correlated_noise, draw_spline_field, partial_volume
from fedgin.phantoms.grid import FloatArray, Grid
from fedgin.phantoms.tissues import Relaxation, Tissue

Sequence = Literal["t1w", "t2w", "t2w_spir", "bssfp"]

FIELD_DEPHASING_PER_MS = 0.015
"""Extra decay of gradient echoes by field inhomogeneity at 1.5 T, 1/T2* - 1/T2; it grows with the field. It turns the
liver's T2 of 46 ms into a T2* of 27 ms, within what is measured at 1.5 T."""

TEXTURE_MM = (4.0, 4.0, 4.0)
TEXTURE = 0.05
SHADING_KNOT_MM = 170.0


@dataclass(frozen=True)
class MrScan:
    """How one MR image is taken.

    ``tr`` and ``te`` are in milliseconds, ``flip`` in degrees (gradient echoes only). ``fat_left`` is the share of fat
    signal that suppression leaves (1: none is suppressed), ``noise`` the standard deviation per channel as a share of
    the brightest organ, ``shading`` that of the logarithm of the coil profile, ``gain`` the arbitrary units, and
    ``tesla`` the field strength.
    """

    sequence: Sequence
    tr: float
    te: float
    flip: float
    fat_left: float
    noise: float
    shading: float
    gain: float
    tesla: float = 1.5


@dataclass(frozen=True)
class ScanProtocol:
    """The ranges (low, high) of a sequence's settings, as in :class:`MrScan`."""

    tr: tuple[float, float]
    te: tuple[float, float]
    flip: tuple[float, float] = (90.0, 90.0)
    fat_left: tuple[float, float] = (1.0, 1.0)


PROTOCOLS: dict[Sequence, ScanProtocol] = {
    "t1w": ScanProtocol(tr=(120, 220), te=(4.4, 4.8), flip=(70, 85)),
    "t2w": ScanProtocol(tr=(1600, 2600), te=(68, 92)),
    "t2w_spir": ScanProtocol(tr=(1600, 2600), te=(68, 92), fat_left=(0.08, 0.22)),
    "bssfp": ScanProtocol(tr=(3.2, 4.6), te=(1.5, 2.2), flip=(60, 80), fat_left=(0.15, 0.5)),
}
"""What protocols at 1.5 T use: breath-hold T1w in phase and T2w turbo spin echo of the abdomen, and a fat-suppressed
balanced steady state of the whole heart."""


def draw_mr_scan(rng: np.random.Generator, sequence: Sequence) -> MrScan:
    """Draw a scan from the sequence's protocol.

    SPIR leaves a rest of fat because its inversion pulse is neither exact nor uniform; the steady state restores more
    of it between the pulses.
    """
    protocol = PROTOCOLS[sequence]
    return MrScan(
        sequence=sequence,
        tr=_between(rng, protocol.tr),
        te=_between(rng, protocol.te),
        flip=_between(rng, protocol.flip),
        fat_left=_between(rng, protocol.fat_left),
        noise=float(rng.uniform(0.015, 0.04)),
        shading=float(rng.uniform(0.12, 0.3)),
        gain=float(10 ** rng.uniform(2.3, 3.3)),
    )


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw from a range; nothing is drawn for a fixed value."""
    low, high = limits
    return float(rng.uniform(low, high)) if low < high else low


def spoiled_gradient_echo(tissue: Relaxation, scan: MrScan) -> float:
    """Return the steady-state signal of a spoiled gradient echo (Ernst and Anderson, Rev Sci Instrum 37:93, 1966)."""
    angle = np.radians(scan.flip)
    recovery = np.exp(-scan.tr / tissue.t1)
    decay = np.exp(-scan.te * (1 / tissue.t2 + FIELD_DEPHASING_PER_MS * scan.tesla / 1.5))
    return float(tissue.protons * np.sin(angle) * (1 - recovery) / (1 - np.cos(angle) * recovery) * decay)


def balanced_steady_state(tissue: Relaxation, scan: MrScan) -> float:
    """Return the on-resonance signal of balanced SSFP with suppressed fat (Scheffler and Lehnhardt, Eur Radiol 13:2409,
    2003).

    Blood is bright because its T2 is long for its T1. That flow changes the steady state is left out.
    """
    angle = np.radians(scan.flip)
    longitudinal, transverse = np.exp(-scan.tr / tissue.t1), np.exp(-scan.tr / tissue.t2)
    steady = np.sin(angle) * (1 - longitudinal)
    steady /= 1 - (longitudinal - transverse) * np.cos(angle) - longitudinal * transverse
    return float(tissue.protons * steady * np.exp(-scan.te / tissue.t2) * (1 - tissue.fat * (1 - scan.fat_left)))


def spin_echo(tissue: Relaxation, scan: MrScan, slice_mm: float) -> float:
    """Return the signal of a spin echo with suppressed fat.

    Blood that leaves the slice between the two pulses, half an echo time apart, gives no echo.
    """
    signal = tissue.protons * (1 - np.exp(-scan.tr / tissue.t1)) * np.exp(-scan.te / tissue.t2)
    stays = max(0.0, 1 - tissue.flow * 0.001 * scan.te / 2 / slice_mm)
    return float(signal * (1 - tissue.fat * (1 - scan.fat_left)) * stays)


def tissue_signal(tissue: Relaxation, scan: MrScan, slice_mm: float) -> float:
    """Return the noise-free signal of a tissue, 0 to 1, for the scan's sequence."""
    if scan.sequence == "t1w":
        return spoiled_gradient_echo(tissue, scan)
    return balanced_steady_state(tissue, scan) if scan.sequence == "bssfp" else spin_echo(tissue, scan, slice_mm)


def draw_relaxation(rng: np.random.Generator, mean: Relaxation) -> Relaxation:
    """Draw one person's relaxation times of a tissue, at most two standard deviations from the mean."""
    a, b = (float(d) for d in np.clip(rng.standard_normal(2), -2, 2))
    return Relaxation(mean.t1 + a * mean.t1_sd, 0.0, mean.t2 + b * mean.t2_sd, 0.0, mean.protons, mean.fat, mean.flow)


def add_rician_noise(signal: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Return the magnitude of ``signal`` plus complex Gaussian noise of standard deviation ``sigma`` per channel."""
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def render_mr(
    tissues: NDArray[np.uint8],
    grid: Grid,
    scan: MrScan,
    table: Mapping[Tissue, Relaxation],
    organs: tuple[Tissue, ...],
    rng: np.random.Generator,
) -> FloatArray:
    """Return a magnitude image in arbitrary units, float32 of ``grid.shape``, at least 0.

    Args:
        tissues: codes of :class:`Tissue`, of ``grid.shape``.
        grid: the voxels of ``tissues``; the slice thickness decides how flowing blood looks.
        scan: sequence, noise, shading and units.
        table: relaxation of every tissue that occurs.
        organs: the brightest of these has the scan's gain as its intensity, and noise is a share of it.
        rng: draws the person's relaxation times, the texture within tissues, the shading and the noise.
    """
    signals = np.full(256, np.nan, dtype=np.float32)
    for tissue, mean in table.items():
        signals[tissue] = tissue_signal(draw_relaxation(rng, mean), scan, grid.spacing[2])
    image = signals[tissues] * (1 + np.float32(TEXTURE) * correlated_noise(rng, grid, TEXTURE_MM))
    image = partial_volume(image) * np.exp(draw_spline_field(rng, SHADING_KNOT_MM, scan.shading).on(grid))
    brightest = max(float(signals[organ]) for organ in organs)
    return add_rician_noise(image, scan.noise * brightest, rng) * np.float32(scan.gain / brightest)
