"""CT images of phantom tissues."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedgin.phantoms.fields import correlated_noise, partial_volume
from fedgin.phantoms.grid import FloatArray, Grid
from fedgin.phantoms.tissues import Attenuation, Tissue

REFERENCE_NOISE_HU = 11.0
REFERENCE_SLICE_MM = 5.0
AIR_HU = -1000.0
TEXTURE_MM = (3.0, 3.0, 3.0)


@dataclass(frozen=True)
class CtScan:
    """How one CT is taken: standard deviation of the noise in HU and its correlation length in millimetres."""

    noise_hu: float
    grain_mm: float


def draw_ct_scan(rng: np.random.Generator, slice_mm: float) -> CtScan:
    """Draw a scan. Noise goes with the inverse root of dose and of slice thickness; the dose varies fourfold.

    The reference, 11 HU at 5 mm, is a common noise target of abdominal protocols.
    """
    dose = 2.0 ** rng.uniform(-1, 1)
    noise = REFERENCE_NOISE_HU / np.sqrt(dose * slice_mm / REFERENCE_SLICE_MM)
    return CtScan(noise_hu=float(noise), grain_mm=float(rng.uniform(0.9, 1.6)))


def draw_attenuation(table: Mapping[Tissue, Attenuation], rng: np.random.Generator) -> FloatArray:
    """Draw one patient's CT numbers: float32 HU per tissue code, at most two standard deviations from the mean.

    Codes that are not in the table are NaN.
    """
    values = np.full(256, np.nan, dtype=np.float32)
    for tissue, row in table.items():
        values[tissue] = row.mean + row.between * np.clip(rng.standard_normal(), -2, 2)
    return values


def render_ct(
    tissues: NDArray[np.uint8],
    grid: Grid,
    scan: CtScan,
    table: Mapping[Tissue, Attenuation],
    rng: np.random.Generator,
) -> FloatArray:
    """Return a CT in HU, float32 of ``grid.shape``, at least -1000.

    Args:
        tissues: codes of :class:`Tissue`, of ``grid.shape``.
        grid: the voxels of ``tissues``.
        scan: noise of the image.
        table: attenuation of every tissue that occurs.
        rng: draws the patient's CT numbers, the texture within tissues and the noise.
    """
    within = np.zeros(256, dtype=np.float32)
    within[list(table)] = [row.within for row in table.values()]
    image = draw_attenuation(table, rng)[tissues]
    image += within[tissues] * correlated_noise(rng, grid, TEXTURE_MM)
    image = partial_volume(image)
    # Slices of a CT are reconstructed one by one, so the noise grain hardly reaches across them.
    image += np.float32(scan.noise_hu) * correlated_noise(rng, grid, (scan.grain_mm, scan.grain_mm, 0.5))
    return np.maximum(image, np.float32(AIR_HU))
