import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from benchmarks.moving_average import last_mean, moving_average

VALUES = arrays("float32", (6, 3), elements=st.floats(-10, 10, width=32))


@given(VALUES, st.floats(0, 1))
def test_a_moving_average_weighs_older_models_less(values: NDArray[np.float32], decay: float) -> None:
    models = [{"layer": torch.from_numpy(row)} for row in values]
    weights = [decay**5, *((1 - decay) * decay ** (5 - number) for number in range(1, 6))]
    expected = sum(weight * row.astype("float64") for weight, row in zip(weights, values, strict=True))
    torch.testing.assert_close(
        moving_average(models, decay)["layer"].double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5
    )


@given(VALUES, st.integers(1, 6))
def test_the_mean_of_the_last_models_is_theirs_alone(values: NDArray[np.float32], count: int) -> None:
    models = [{"layer": torch.from_numpy(row)} for row in values]
    torch.testing.assert_close(
        last_mean(models, count)["layer"], torch.from_numpy(values[-count:].mean(0)), rtol=1e-4, atol=1e-5
    )
