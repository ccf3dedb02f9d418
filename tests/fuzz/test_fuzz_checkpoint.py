import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedgin.train.checkpoint import load_checkpoint, load_weights, save_checkpoint
from tests.fuzz.mutations import RUN, explains, fuzz, raw, spliced

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore:Detected pickle protocol")]
NETWORK = nn.InstanceNorm2d(2, affine=True)


class Payload:
    """Runs a command when a loader that runs code unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (RUN,)


def saved(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


CONTENT = {"round": 1, "model": NETWORK.state_dict(), "note": "x"}
PAYLOADS = [saved(Payload()), saved(Payload(), legacy=True), pickle.dumps({"model": Payload()}, protocol=0)]
FILES = [saved(CONTENT), saved(CONTENT, legacy=True), pickle.dumps({"model": {}}, protocol=2), *PAYLOADS]


@st.composite
def repacked(draw: st.DrawFn) -> bytes:
    """Draw a checkpoint of whole zip entries with one entry's bytes damaged: its checksums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from([FILES[0], PAYLOADS[0]])))) as source:
        victim = draw(st.sampled_from(source.namelist()))
        with zipfile.ZipFile(buffer, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as target:
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, draw(spliced(content)) if name == victim else content)
    return buffer.getvalue()


def read(path: Path) -> None:
    load_weights(NETWORK, load_checkpoint(path, "model")["model"], source=path.name)


@fuzz("checkpoint")
@given(content=st.sampled_from(FILES).flatmap(spliced) | repacked() | raw)
def test_a_checkpoint_is_loaded_or_refused_and_never_run(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "model.pt"
    path.write_bytes(content)
    explains(lambda: read(path))
    assert all(bool(torch.isfinite(value).all()) for value in NETWORK.state_dict().values())


@pytest.mark.parametrize("content", PAYLOADS, ids=["zip", "legacy", "pickle"])
def test_a_payload_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert not explains(lambda: read(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    "content",
    [{}, [], 1, {"model": 1}, {"model": {"weight": 1}}, {"model": {1: torch.ones(2)}}, {"model": [torch.ones(2)]}],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "model.pt").write_bytes(saved(content))
    assert not explains(lambda: read(tmp_path / "model.pt"))


def test_a_tensor_without_values_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", {"model": {"weight": torch.empty(2, device="meta"), "bias": torch.ones(2)}})
    assert not explains(lambda: read(tmp_path / "model.pt"))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    assert not explains(lambda: read(tmp_path / "model.pt"))
