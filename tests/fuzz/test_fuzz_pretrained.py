import hashlib
import struct

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedgin.nets.settings import Pretrained
from fedgin.train.pretrained import start_from
from tests.fuzz.mutations import as_json, damaged, explains, fuzz, raw, spliced

pytestmark = pytest.mark.timeout(300)
NETWORK = nn.InstanceNorm2d(2, affine=True)
FILE = "model.safetensors"
CONTENT = safetensors.torch.save({"weight": torch.ones(2), "bias": torch.zeros(2)})
HEADER = {
    "weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "bias": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
}


def with_header(header: bytes) -> bytes:
    """Return a file with a header of ours: sizes and places that no writer would give."""
    return struct.pack("<Q", len(header)) + header + bytes(16)


contents: st.SearchStrategy[bytes] = spliced(CONTENT) | damaged(HEADER).map(as_json).map(with_header) | raw


@fuzz("pretrained")
@given(content=contents)
def test_a_file_of_weights_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / FILE).write_bytes(content)
    pretrained = Pretrained(file=FILE, sha256=hashlib.sha256(content).hexdigest())
    explains(lambda: start_from(NETWORK, pretrained, folder))
    assert all(bool(torch.isfinite(value).all()) for value in NETWORK.state_dict().values())
