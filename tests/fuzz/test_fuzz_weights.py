import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.shareable import Shareable
from torch import nn

from fedgin.flare.client.weights import weights_from_shareable
from fedgin.train.checkpoint import load_weights
from tests.fuzz.mutations import damaged, explains, fuzz, odd_values, plain

pytestmark = pytest.mark.timeout(300)
DTYPES = ["f2", "f4", "f8", ">f4", "g", "i1", "i8", ">i8", "u2", "u4", "u8", "?", "c8", "O", "S3", "U3", "M8[s]", "V4"]
ODD_TENSORS = [
    torch.empty(2, device="meta"),
    torch.eye(2).to_sparse(),
    torch.ones(2, dtype=torch.complex64),
    torch.ones(2, dtype=torch.float8_e5m2),
    torch.ones(2, requires_grad=True),
    torch.ones(1).expand(2**40),
    torch.tensor([1e300, 1.0], dtype=torch.float64),
    torch.tensor([torch.nan, 1.0]),
]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Draw an array of any kind of NumPy's, an odd tensor, or something else."""
    if draw(st.booleans()):
        return draw(st.sampled_from(ODD_TENSORS) | odd_values | plain)
    shape = draw(st.sampled_from([(), (0,), (1,), (2,), (2, 1), (1,) * 9]))
    array = np.zeros(shape, dtype=np.dtype(draw(st.sampled_from(DTYPES))))
    array.setflags(write=draw(st.booleans()))
    return array[::-1] if array.ndim and draw(st.booleans()) else array


CONTENT = "DXO"  # where a shareable carries one
names = st.sampled_from(["weight", "bias", "", "\0", "\ud800", "x" * 5000, 1, None, (1, 2), 10**5000, b"x"])
mappings = st.dictionaries(names, arrays(), max_size=3)


@st.composite
def shareables(draw: st.DrawFn) -> Shareable:
    """Draw a task: with any data where FLARE carries weights, or with its frame damaged."""
    kind = draw(st.sampled_from([DataKind.WEIGHTS] * 3 + [DataKind.WEIGHT_DIFF, DataKind.METRICS]))
    task = DXO(kind, data={"weight": 0}).to_shareable()
    if draw(st.booleans()):
        task[CONTENT]["data"] = draw(mappings | plain)
        return task
    frame = draw(damaged(dict(task)))
    broken = Shareable()
    broken.update(frame if isinstance(frame, dict) else {CONTENT: frame})
    return broken


@fuzz("weights")
@given(task=shareables())
def test_weights_are_taken_from_a_task_or_refused(task: Shareable) -> None:
    def take() -> None:
        weights = weights_from_shareable(task, source="round 1")
        assert all(isinstance(name, str) for name in weights)
        for value in weights.values():
            # What a message can hold, and PyTorch takes.
            torch.from_numpy(np.array(value))

    explains(take)


@fuzz("network")
@given(weights=mappings | st.fixed_dictionaries({"weight": arrays(), "bias": arrays()}) | plain)
def test_a_network_takes_finite_weights_or_stays_as_it_was(weights: Any) -> None:
    network = nn.InstanceNorm2d(2, affine=True)
    before = copy.deepcopy(network.state_dict())
    taken = explains(lambda: load_weights(network, weights, source="x"))
    for name, value in network.state_dict().items():
        assert torch.isfinite(value).all()
        assert taken or torch.equal(value, before[name])


def test_what_float32_cannot_hold_is_refused() -> None:
    weights = {"weight": torch.tensor([1e300, 1.0], dtype=torch.float64), "bias": torch.zeros(2)}
    assert not explains(lambda: load_weights(nn.InstanceNorm2d(2, affine=True), weights, source="x"))
