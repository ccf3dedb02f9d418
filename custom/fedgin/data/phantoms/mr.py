"""MR images of phantom tissues at 1.5 T."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgin.data.phantoms.fields import correlated_noise, draw_spline_field, partial_volume
from fedgin.data.phantoms.grid import FloatArray, Grid
from fedgin.data.phantoms.tissues import MR_1_5_TESLA, Relaxation, Tissue

Sequence = Literal["t1w", "t2w", "t2w_spir"]

FIELD_DEPHASING_PER_MS = 0.015
"""Extra decay of gradient echoes by field inhomogeneity, 1/T2* - 1/T2; it turns the liver's T2 of 46 ms into a T2* of
27 ms, within what is measured at 1.5 T."""

TEXTURE_MM = (4.0, 4.0, 4.0)
TEXTURE = 0.05
SHADING_KNOT_MM = 170.0


@dataclass(frozen=True)
class MrScan:
    """How one MR image is taken.

    ``tr`` and ``te`` are in milliseconds, ``flip`` in degrees (gradient echo only). ``fat_left`` is the share of fat
    signal that suppression leaves (1: none is suppressed), ``noise`` the standard deviation per channel as a share of
    the brightest organ, ``shading`` that of the logarithm of the coil profile, and ``gain`` the arbitrary units.
    """

    sequence: Sequence
    tr: float
    te: float
    flip: float
    fat_left: float
    noise: float
    shading: float
    gain: float


def draw_mr_scan(rng: np.random.Generator, sequence: Sequence) -> MrScan:
    """Draw a scan from the ranges that abdominal protocols at 1.5 T use; breath-hold T1w in phase, T2w turbo spin echo.

    SPIR leaves a rest of fat because its inversion pulse is neither exact nor uniform.
    """
    gradient_echo = sequence == "t1w"
    return MrScan(
        sequence=sequence,
        tr=float(rng.uniform(120, 220) if gradient_echo else rng.uniform(1600, 2600)),
        te=float(rng.uniform(4.4, 4.8) if gradient_echo else rng.uniform(68, 92)),
        flip=float(rng.uniform(70, 85)) if gradient_echo else 90.0,
        fat_left=float(rng.uniform(0.08, 0.22)) if sequence == "t2w_spir" else 1.0,
        noise=float(rng.uniform(0.015, 0.04)),
        shading=float(rng.uniform(0.12, 0.3)),
        gain=float(10 ** rng.uniform(2.3, 3.3)),
    )


def spoiled_gradient_echo(tissue: Relaxation, scan: MrScan) -> float:
    """Return the steady-state signal of a spoiled gradient echo (Ernst and Anderson, Rev Sci Instrum 37:93, 1966)."""
    angle = np.radians(scan.flip)
    recovery = np.exp(-scan.tr / tissue.t1)
    decay = np.exp(-scan.te * (1 / tissue.t2 + FIELD_DEPHASING_PER_MS))
    return float(tissue.protons * np.sin(angle) * (1 - recovery) / (1 - np.cos(angle) * recovery) * decay)


def spin_echo(tissue: Relaxation, scan: MrScan, slice_mm: float) -> float:
    """Return the signal of a spin echo with suppressed fat.

    Blood that leaves the slice between the two pulses, half an echo time apart, gives no echo.
    """
    signal = tissue.protons * (1 - np.exp(-scan.tr / tissue.t1)) * np.exp(-scan.te / tissue.t2)
    stays = max(0.0, 1 - tissue.flow * 0.001 * scan.te / 2 / slice_mm)
    return float(signal * (1 - tissue.fat * (1 - scan.fat_left)) * stays)


def tissue_signal(tissue: Relaxation, scan: MrScan, slice_mm: float) -> float:
    """Return the noise-free signal of a tissue, 0 to 1, for the scan's sequence."""
    return spoiled_gradient_echo(tissue, scan) if scan.sequence == "t1w" else spin_echo(tissue, scan, slice_mm)


def draw_relaxation(rng: np.random.Generator, tissue: Tissue) -> Relaxation:
    """Draw one person's relaxation times of a tissue, at most two standard deviations from the table."""
    mean = MR_1_5_TESLA[tissue]
    a, b = (float(d) for d in np.clip(rng.standard_normal(2), -2, 2))
    return Relaxation(mean.t1 + a * mean.t1_sd, 0.0, mean.t2 + b * mean.t2_sd, 0.0, mean.protons, mean.fat, mean.flow)


def add_rician_noise(signal: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Return the magnitude of ``signal`` plus complex Gaussian noise of standard deviation ``sigma`` per channel."""
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def render_mr(tissues: NDArray[np.uint8], grid: Grid, scan: MrScan, rng: np.random.Generator) -> FloatArray:
    """Return a magnitude image in arbitrary units, float32 of ``grid.shape``, at least 0.

    Args:
        tissues: codes of :class:`Tissue`, of ``grid.shape``.
        grid: the voxels of ``tissues``; the slice thickness decides how flowing blood looks.
        scan: sequence, noise, shading and units.
        rng: draws the person's relaxation times, the texture within tissues, the shading and the noise.
    """
    people = [draw_relaxation(rng, tissue) for tissue in Tissue]
    signals = np.array([tissue_signal(tissue, scan, grid.spacing[2]) for tissue in people], dtype=np.float32)
    image = signals[tissues] * (1 + np.float32(TEXTURE) * correlated_noise(rng, grid, TEXTURE_MM))
    image = partial_volume(image) * np.exp(draw_spline_field(rng, SHADING_KNOT_MM, scan.shading).on(grid))
    brightest = max(float(signals[organ]) for organ in (Tissue.LIVER, Tissue.SPLEEN, Tissue.RENAL_CORTEX))
    return add_rician_noise(image, scan.noise * brightest, rng) * np.float32(scan.gain / brightest)
