"""A round's updates wait in files: the server's memory holds one of them, however many sites there are."""

import mmap
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fedgin.flare.participation import Contribution
from fedgin.flare.server.guard import Update, UpdateRefusedError
from fedgin.flare.server.update_store import LARGE, UpdateStore, in_a_file
from fedgin.train.experiment import Experiment
from tests.flare.server.updates import Server, constant, open_server, send
from tests.sites import tiny_experiment

WIDE = {"name": "unet", "params": {"channels": [64, 256], "residual_units": 0}}


def wide() -> Experiment:
    return tiny_experiment(network=WIDE, federation={"max_norm_ratio": 1e12})


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("updates/*"))


def peak_of_a_round(server: Server, experiment: Experiment, sites: list[str]) -> int:
    """Return the most bytes that a round takes with updates that come one by one."""
    tracemalloc.start()
    for number, site in enumerate(sites):
        assert server.accept(send(site, ("CT", "MR")[number % 2], 5, constant(experiment, "CT", 0.1))), server.errors
    server.close_round()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_sites(tmp_path: Path) -> None:
    experiment = wide()
    size = sum(entry.nbytes for entry in constant(experiment, "CT", 0.1).values())
    assert size > 500_000, "an update must be large beside all else"
    peaks = []
    for count in (2, 12):
        sites = [f"site-{number}" for number in range(count)]
        server = open_server(tmp_path / str(count), experiment, sites=sites)
        peaks.append(peak_of_a_round(server, experiment, sites))
        assert server.aggregated
    assert peaks[1] - peaks[0] < size, "ten more updates take less than one"


def test_files_are_gone_when_the_round_is_closed(tmp_path: Path) -> None:
    experiment = tiny_experiment()
    server = open_server(tmp_path, experiment)
    for site, modality in (("a", "CT"), ("c", "MR")):
        assert server.accept(send(site, modality, 5, constant(experiment, modality, 0.1)))
    assert len(files(tmp_path)) == 2
    server.close_round()
    assert files(tmp_path) == []


def test_what_an_earlier_run_left_is_gone_before_the_first_update(tmp_path: Path) -> None:
    left = tmp_path / "updates" / "1.safetensors"
    left.parent.mkdir()
    left.write_bytes(b"left")
    UpdateStore(left.parent, lambda array: array)
    assert not left.exists()


def test_an_update_that_cannot_be_kept_is_refused_with_the_reason(tmp_path: Path) -> None:
    store = UpdateStore(tmp_path / "updates", lambda array: array)
    (tmp_path / "updates").write_text("a file where the folder should be")
    counts = {"cases": 1, "of_cases": 1, "slices": 1, "of_slices": 1}
    update = Update({"w": np.ones(3, np.float32)}, 1.0, Contribution("CT", 1.0, **counts))
    with pytest.raises(UpdateRefusedError, match="the server cannot keep it"):
        store.keep(update)


def memory_of(array: NDArray[Any]) -> object:
    """Return what holds the numbers of an array."""
    found: Any = array
    while isinstance(found.base, np.ndarray):
        found = found.base
    return found.base


@given(
    st.sampled_from(["<f2", "<f4", ">f4", "<f8", "<i8", "?"]),
    arrays.array_shapes(max_dims=4, max_side=60),
    st.sampled_from("CF"),
    st.randoms(use_true_random=False),
)
def test_an_array_in_a_file_is_the_same_array(
    tmp_path_factory: pytest.TempPathFactory, kind: str, shape: tuple[int, ...], order: Any, random: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    numbers = np.random.default_rng(random.getrandbits(32)).standard_normal(shape) * 100
    array = np.asarray(numbers, kind, order=order)
    put = in_a_file(folder)(array)
    assert type(put) is np.ndarray
    assert (put.dtype, put.shape) == (array.dtype, array.shape)
    assert put.tobytes() == array.tobytes()
    assert isinstance(memory_of(put), mmap.mmap) == (array.nbytes >= LARGE)


def test_an_array_in_a_file_may_be_changed_and_leaves_no_name(tmp_path: Path) -> None:
    put = in_a_file(tmp_path)(np.ones(LARGE, np.uint8))
    put[0] = 7
    assert (put[0], put[1]) == (7, 1)
    assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_written_an_array_stays_in_memory(tmp_path: Path) -> None:
    array = np.ones(LARGE, np.uint8)
    assert in_a_file(tmp_path / "missing")(array) is array
