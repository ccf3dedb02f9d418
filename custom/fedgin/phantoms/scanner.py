"""What makes the images of two hospitals differ: scanner and protocol, stated and drawn by seed."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from fedgin.data.site import Modality
from fedgin.phantoms.mr import Sequence
from fedgin.phantoms.scanner_tissues import Phase
from fedgin.seeds import derive_seed

# Scanners of one kind differ by this factor in noise and in shading, upwards or downwards.
SPREAD = 1.25


@dataclass(frozen=True)
class Scanner:
    """A scanner with its protocol for the abdomen.

    Attributes:
        modality: CT or MR.
        slice_mm: slice thickness.
        noise: times the noise of the demo's scanners.
        phase: moment after contrast agent, of a CT.
        tesla: field strength, 1.5 or 3, of an MR scanner.
        sequence: of an MR scanner.
        shading: times the bias field of the demo's scanners, of an MR scanner.
    """

    modality: Modality
    slice_mm: float
    noise: float
    phase: Phase = "portal_venous"
    tesla: float = 1.5
    sequence: Sequence = "t2w_spir"
    shading: float = 1.0

    def described(self) -> dict[str, object]:
        """Return what holds of this modality, for the site's files."""
        others = {"tesla", "sequence", "shading"} if self.modality is Modality.CT else {"phase"}
        return {name: value for name, value in asdict(self).items() if name not in {*others, "modality"}}


SCANNERS = (
    Scanner(Modality.CT, slice_mm=5.0, noise=1.0, phase="portal_venous"),
    Scanner(Modality.MR, slice_mm=7.0, noise=1.0, tesla=1.5, sequence="t2w_spir", shading=1.0),
    Scanner(Modality.CT, slice_mm=2.5, noise=1.6, phase="native"),
    Scanner(Modality.MR, slice_mm=5.0, noise=0.5, tesla=3.0, sequence="t1w", shading=2.0),
    Scanner(Modality.CT, slice_mm=4.0, noise=0.6, phase="arterial"),
    Scanner(Modality.MR, slice_mm=8.0, noise=2.0, tesla=1.5, sequence="t2w", shading=0.5),
)
"""Kinds of scanners, CT and MR in turn: a modality's three differ in contrast, noise and slice thickness."""


def draw_scanner(seed: int, centre: int) -> Scanner:
    """Return the scanner of a centre, counted from 0; its noise and shading are its own."""
    kind = SCANNERS[centre % len(SCANNERS)]
    rng = np.random.default_rng(derive_seed(seed, "scanner", centre))
    noise, shading = (round(float(SPREAD ** rng.uniform(-1, 1)), 3) for _ in range(2))
    return replace(kind, noise=round(kind.noise * noise, 3), shading=round(kind.shading * shading, 3))
