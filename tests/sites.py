"""Small sites for tests: block phantoms, a case of one, and an experiment to train on them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgin.data.datalist import Case, Split
from fedgin.data.site import Modality
from fedgin.phantoms.blocks import AFFINE, EXPERIMENT, ORGANS, SHAPE, make_volume, write_case
from fedgin.phantoms.blocks import write_block_site as write_site
from fedgin.train.experiment import Experiment

__all__ = [
    "AFFINE",
    "ORGANS",
    "SHAPE",
    "make_case",
    "make_volume",
    "tiny_experiment",
    "tiny_volumes",
    "write_case",
    "write_site",
]


def make_case(folder: Path, image: NDArray[np.float32], label: NDArray[np.uint8], modality: str = "CT") -> Case:
    """Write one case and return it as the site's first training case."""
    entry = write_case(folder, "only", image, label)
    return Case(
        "site-1",
        Modality(modality),
        Split.TRAINING,
        1,
        1,
        folder / entry["image"],
        folder / entry["label"],
        {"liver": 1, "spleen": 2},
    )


def tiny_experiment(**changes: object) -> Experiment:
    """Return an experiment that trains in well under a second."""
    return Experiment.model_validate(EXPERIMENT | changes)


def tiny_volumes(**changes: object) -> Experiment:
    """Return the same in 3D; a patch is thicker than the volumes of block sites and does not cover them in plane."""
    return tiny_experiment(preprocessing={"spacing_mm": [10.0, 10.0, 5.0], "size": [16, 16, 16]}, **changes)
