from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Case, Split
from fedgin.data.patches import Patch, draw_patches
from fedgin.data.places import PLACES, find_places
from fedgin.data.site import Modality
from fedgin.errors import DataError


def cached(
    folder: Path, label: torch.Tensor, *, number: int = 1, window: tuple[int, int, int] = (4, 4, 4)
) -> CachedCase:
    """Write a cached volume whose image numbers its voxels."""
    path = folder / f"{number}.safetensors"
    body = torch.ones(label.shape, dtype=torch.bool)
    image = torch.arange(label.numel(), dtype=torch.float32).reshape(label.shape)
    tensors = {"image": image, "label": label, "body": body, "places": find_places(label, body, 3)}
    save_file(tensors, path)
    case = Case("site-1", Modality.CT, Split.TRAINING, number, number, path, path, {"liver": 1})
    return CachedCase(case, path, ("liver", "spleen", "pancreas"), window)


def blocks(shape: tuple[int, int, int], *organs: int) -> torch.Tensor:
    """Return a label with one voxel of each organ along the first axis, and a large first organ."""
    label = torch.zeros(shape, dtype=torch.uint8)
    for organ in organs:
        label[organ - 1, 0, 0] = organ
    if organs:
        label[:, 2:, 2:] = organs[0]
    return label


def drawn(cases: list[CachedCase], count: int, share: float = 0.5, seed: int = 0) -> list[Patch]:
    generator = torch.Generator().manual_seed(seed)
    return draw_patches(cases, count, foreground_share=share, generator=generator)


def holds(patch: Patch, organ: int) -> bool:
    return bool((patch.read("label") == organ).any())


@settings(max_examples=40)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), window=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 99))
def test_a_patch_is_full_and_lies_inside_a_volume_that_is_larger(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], window: tuple[int, int, int], seed: int
) -> None:
    """Where the volume is smaller, the patch is continued with the volume's border on both sides."""
    case = cached(tmp_path_factory.mktemp("case"), torch.zeros(shape, dtype=torch.uint8), window=window)
    [patch] = drawn([case], 1, seed=seed)
    found = patch.read("image")
    assert found.shape == window
    expected = case.read("image")
    for axis, (start, side) in enumerate(zip(patch.start, window, strict=True)):
        expected = expected.index_select(axis, torch.arange(start, start + side).clamp(0, shape[axis] - 1))
        assert 0 <= start <= shape[axis] - side if side <= shape[axis] else start == -((side - shape[axis]) // 2)
    assert torch.equal(found, expected)
    assert len(patch.slices) == min(window[0], shape[0])


@settings(max_examples=30)
@given(share=st.floats(0, 1), count=st.integers(1, 40), seed=st.integers(0, 99))
def test_the_share_of_organs_is_kept_over_a_round_whatever_the_batch(
    tmp_path_factory: pytest.TempPathFactory, share: float, count: int, seed: int
) -> None:
    """An organ of one voxel and a patch of one voxel: a patch shows the organ or it was drawn for background."""
    label = torch.zeros(3, 3, 3, dtype=torch.uint8)
    label[1, 1, 1] = 2
    case = cached(tmp_path_factory.mktemp("case"), label, window=(1, 1, 1))
    shown = sum(holds(patch, 2) for patch in drawn([case], count, share, seed))
    assert abs(shown - share * count) < 1 + 1e-6


def test_every_organ_gets_its_turn_however_small_it_is(tmp_path: Path) -> None:
    case = cached(tmp_path, blocks((5, 9, 9), 1, 2, 3), window=(1, 1, 1))
    patches = drawn([case], 30, share=1.0)
    found = Counter(int(patch.read("label")) for patch in patches)
    assert found == {1: 10, 2: 10, 3: 10}


def test_every_case_gets_its_turn_for_the_organs_that_it_shows(tmp_path: Path) -> None:
    shown = {1: (1,), 2: (1, 2), 3: (2,), 4: ()}
    cases = [cached(tmp_path, blocks((4, 4, 4), *organs), number=number) for number, organs in shown.items()]
    patches = drawn(cases, 40, share=0.5)
    found = Counter(patch.case.case.number for patch in patches)
    assert all(found[number] >= 5 for number in shown)
    assert found[4] == 5, "a quarter of the background, and nothing else"


def test_the_patches_depend_on_the_generator_alone(tmp_path: Path) -> None:
    case = cached(tmp_path, blocks((9, 9, 9), 1, 2))
    assert drawn([case], 9, seed=3) == drawn([case], 9, seed=3)
    assert drawn([case], 9, seed=3) != drawn([case], 9, seed=4)


@pytest.mark.parametrize(("label", "organ"), [(torch.zeros(4, 4, 4), False), (torch.ones(4, 4, 4), True)])
def test_where_one_kind_is_missing_all_are_of_the_other(tmp_path: Path, label: torch.Tensor, organ: bool) -> None:
    patches = drawn([cached(tmp_path, label.byte())], 4)
    assert all(holds(patch, 1) == organ for patch in patches)


def test_no_case_is_an_error() -> None:
    with pytest.raises(DataError, match="no training case"):
        drawn([], 1)


@settings(max_examples=30)
@given(shape=st.tuples(*[st.integers(1, 20)] * 3), seed=st.integers(0, 99))
def test_places_are_of_their_class_and_few(shape: tuple[int, int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, shape, generator=generator, dtype=torch.uint8)
    body = torch.rand(shape, generator=generator) > 0.3
    rows = find_places(label, body, 3).long()
    number, where = rows[:, 0], rows[:, 1:].unbind(1)
    assert torch.equal(label[where].long(), number)
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    for organ in (1, 2, 3):
        assert int((number == organ).sum()) == min(PLACES, int((label == organ).sum()))
    background = (label == 0) & body
    assert bool(background[tuple(axis[number == 0] for axis in where)].all()) or not bool(background.any())
