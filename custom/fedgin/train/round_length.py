"""How many optimiser steps a round has: as many as the experiment says, or as whole passes over the data take."""

import math
from collections.abc import Sequence

from fedgin.data.cache import CachedCase
from fedgin.train.experiment import Experiment


def steps_of_round(experiment: Experiment, cases: Sequence[CachedCase]) -> int:
    """Return the optimiser steps of each round on these training cases.

    A pass over slices shows each of them once. Patches are drawn, so a pass has as many as cover the volumes.
    """
    training = experiment.training
    if training.local_epochs is None:
        return training.steps
    if experiment.spatial_dims == 2:
        samples = sum(len(case.shown) for case in cases)
    else:
        samples = sum(_patches_that_cover(case) for case in cases)
    return training.local_epochs * math.ceil(samples / training.batch_size)


def _patches_that_cover(case: CachedCase) -> int:
    return math.prod(math.ceil(size / side) for size, side in zip(case.shape, case.window, strict=True))
