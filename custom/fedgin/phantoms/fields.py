"""Smooth random fields: deformations, coil shading and tissue texture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.phantoms.grid import CENTRE_MM, FIELD_OF_VIEW_MM, FloatArray, Grid


@dataclass(frozen=True)
class SplineField:
    """A random function of patient position: cubic B-splines on a lattice that does not depend on any image grid.

    ``weights`` has shape (a, b, c); ``knot_mm`` is the lattice pitch, which sets how smooth the field is.
    """

    weights: NDArray[np.float64]
    knot_mm: float

    def on(self, grid: Grid) -> FloatArray:
        """Evaluate at the voxel centres: float32 of ``grid.shape``. Separable, so three small matrix products do."""
        bx, by, bz = (
            _spline_basis(axis, middle, self.knot_mm, count)
            for axis, middle, count in zip(grid.axes(), CENTRE_MM, self.weights.shape, strict=True)
        )
        return np.einsum("xa,yb,zc,abc->xyz", bx, by, bz, self.weights, optimize=True).astype(np.float32)


def draw_spline_field(rng: np.random.Generator, knot_mm: float, amplitude: float) -> SplineField:
    """Draw a field of roughly standard deviation ``amplitude``, a little less between the knots."""
    # Three knots beyond the field of view on each side keep every voxel inside the support of four splines per axis.
    counts = [int(np.ceil(extent / knot_mm)) + 6 for extent in FIELD_OF_VIEW_MM]
    # A sum of B-splines with unit-variance weights has variance (151/315)^3 on average over the cell.
    gain = amplitude / (151 / 315) ** 1.5
    return SplineField(gain * np.clip(rng.standard_normal(counts), -2.0, 2.0), knot_mm)


def _spline_basis(axis: FloatArray, middle: float, knot_mm: float, count: int) -> NDArray[np.float64]:
    """Return the (voxels, count) matrix of cubic B-splines whose knots lie symmetrically about ``middle``."""
    knots = middle + knot_mm * (np.arange(count) - (count - 1) / 2)
    t = np.abs((axis[:, None].astype(np.float64) - knots[None, :]) / knot_mm)
    near = 2 / 3 - t**2 + t**3 / 2
    far = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, near, far)


def correlated_noise(rng: np.random.Generator, grid: Grid, length_mm: tuple[float, float, float]) -> FloatArray:
    """Return Gaussian noise of unit standard deviation, smoothed by a Gaussian of ``length_mm`` along each axis."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    sigma = [length / step for length, step in zip(length_mm, grid.spacing, strict=True)]
    smooth: FloatArray = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=3.0)
    return smooth / smooth.std()


def partial_volume(volume: FloatArray) -> FloatArray:
    """Blur by a point spread of 1.4 voxels FWHM in plane and 0.8 across, so edges mix tissues as scanners do."""
    blurred: FloatArray = ndimage.gaussian_filter(volume, (0.6, 0.6, 0.35), mode="nearest", truncate=3.0)
    return blurred
