"""The checkpoint that a resumed job carries: it comes with a job, so it may hold anything."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedgin.flare.jobs.checkpoint import (
    CHECKPOINT,
    CIPHERTEXTS,
    CLAIMS,
    ROUND,
    read_ciphertexts,
    read_claims,
    read_round,
)
from fedgin.flare.server.model import initial_network
from tests.fuzz.mutations import explains, fuzz, raw, spliced
from tests.sites import tiny_experiment

pytestmark = pytest.mark.timeout(300)
NETWORK = {"name": "unet", "params": {"channels": [4, 8], "residual_units": 0}}
EXPERIMENT = tiny_experiment(network=NETWORK, resumes={"job": "old-job", "round": 3})
CLAIM = {"a": {"modality": "CT", "weight": 12.0}}
FACTS = {ROUND: "2", CLAIMS: json.dumps(CLAIM), CIPHERTEXTS: "[]"}
MODEL = {name: value.numpy() for name, value in EXPERIMENT.initial_network().state_dict().items()}
ENCRYPTED = {"w": np.zeros(9, np.uint8)}
FILES = [
    safetensors.numpy.save(MODEL, metadata=FACTS),
    safetensors.numpy.save(ENCRYPTED, metadata=FACTS | {CIPHERTEXTS: '["w"]'}),
]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a resumed job's experiment, as short as people write it: each input reads it."""
    folder = tmp_path_factory.mktemp("resumed")
    experiment = EXPERIMENT.model_dump(mode="json", exclude_defaults=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    return folder


@fuzz("resumed")
@given(content=st.sampled_from(FILES).flatmap(spliced) | raw)
def test_a_checkpoint_of_a_round_is_read_or_refused(resumed: Path, content: bytes) -> None:
    (resumed / CHECKPOINT).write_bytes(content)
    for read in (read_round, read_claims, read_ciphertexts):
        explains(partial(read, resumed / CHECKPOINT))
    explains(lambda: initial_network(str(resumed / "experiment.yaml")))


def test_whole_files_are_read(tmp_path: Path) -> None:
    for content in FILES:
        (tmp_path / CHECKPOINT).write_bytes(content)
        assert read_round(tmp_path / CHECKPOINT) == 2
        assert set(read_claims(tmp_path / CHECKPOINT)) == {"a"}
    assert read_ciphertexts(tmp_path / CHECKPOINT) == {"w": bytes(9)}
