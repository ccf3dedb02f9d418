from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Split
from fedgin.data.prepare import prepare_site
from fedgin.data.samples import SampleDataset
from fedgin.data.site import load_site
from fedgin.data.slices import BalancedBatches, SliceIndex, slices_of
from fedgin.errors import DataError
from tests.sites import ORGANS, tiny_experiment, write_site


def pool(with_organ: int, without: int) -> list[SliceIndex]:
    case = CachedCase.__new__(CachedCase)
    return [SliceIndex(case, number, (1,) if number < with_organ else ()) for number in range(with_organ + without)]


def deal(slices: list[SliceIndex], *, batch_size: int, batches: int, share: float, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return list(
        BalancedBatches(slices, batch_size=batch_size, batches=batches, foreground_share=share, generator=generator)
    )


@settings(max_examples=60)
@given(
    with_organ=st.integers(0, 20),
    without=st.integers(0, 20),
    batch_size=st.integers(1, 12),
    batches=st.integers(1, 10),
    share=st.floats(0, 1),
)
def test_every_batch_is_full_and_the_asked_share_is_kept_over_the_batches(
    with_organ: int, without: int, batch_size: int, batches: int, share: float
) -> None:
    if with_organ + without == 0:
        with pytest.raises(DataError, match="no training slice"):
            deal([], batch_size=batch_size, batches=batches, share=share)
        return
    dealt = deal(pool(with_organ, without), batch_size=batch_size, batches=batches, share=share)
    wanted = batch_size if not without else 0 if not with_organ else batch_size * share
    assert [len(batch) for batch in dealt] == [batch_size] * batches
    shown = 0
    for number, batch in enumerate(dealt, start=1):
        shown += sum(index < with_organ for index in batch)
        assert abs(shown - number * wanted) <= 0.5 + 1e-9


def test_a_share_that_is_no_whole_number_of_slices_shows_both_kinds() -> None:
    for batch_size in (1, 2):
        dealt = deal(pool(9, 9), batch_size=batch_size, batches=100, share=0.75)
        assert sum(index < 9 for batch in dealt for index in batch) == 75 * batch_size


def test_a_pool_is_dealt_out_before_it_starts_again() -> None:
    dealt = deal(pool(7, 0), batch_size=7, batches=5, share=1.0)
    assert all(sorted(batch) == list(range(7)) for batch in dealt)
    counts = Counter(index for batch in deal(pool(5, 3), batch_size=4, batches=40, share=0.5) for index in batch)
    organ = [counts[index] for index in range(5)]
    assert max(organ) - min(organ) <= 1


@settings(max_examples=60)
@given(
    shows=st.lists(st.sets(st.integers(1, 4)).map(lambda numbers: tuple(sorted(numbers))), min_size=1, max_size=20),
    batch_size=st.integers(1, 12),
    batches=st.integers(1, 10),
)
def test_organs_take_turns_however_few_slices_show_them(
    shows: list[tuple[int, ...]], batch_size: int, batches: int
) -> None:
    case = CachedCase.__new__(CachedCase)
    slices = [SliceIndex(case, position, numbers) for position, numbers in enumerate(shows)]
    dealt = [index for batch in deal(slices, batch_size=batch_size, batches=batches, share=1.0) for index in batch]
    organs = set().union(*shows)
    for number in organs:
        seen = [index for index in dealt if number in shows[index]]
        assert len(seen) >= len(dealt) // len(organs)


def test_an_organ_of_one_slice_is_in_every_batch_that_has_room_for_all_organs() -> None:
    case = CachedCase.__new__(CachedCase)
    liver = [SliceIndex(case, position, (1,)) for position in range(50)]
    slices = [*liver, SliceIndex(case, 50, (1, 2)), *(SliceIndex(case, 51 + position, ()) for position in range(20))]
    for batch in deal(slices, batch_size=8, batches=20, share=0.75):
        assert batch.count(50) >= 3


def test_the_order_depends_on_the_generator_alone() -> None:
    first = deal(pool(9, 9), batch_size=4, batches=5, share=0.5, seed=1)
    assert first == deal(pool(9, 9), batch_size=4, batches=5, share=0.5, seed=1)
    assert first != deal(pool(9, 9), batch_size=4, batches=5, share=0.5, seed=2)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_items_say_which_classes_the_site_labels_and_its_modality(tmp_path: Path, modality: str) -> None:
    contract = load_site(write_site(tmp_path, "site-1", modality, labels={"spleen": 7}))
    experiment = tiny_experiment()
    data = prepare_site(contract, experiment.preprocessing, ORGANS)
    item = SampleDataset(slices_of(data.cases[Split.TRAINING]))[2]
    assert item["labelled"].tolist() == [True, False, True]
    assert item["modality"] == modality
    assert item["image"].shape == item["label"].shape == item["body"].shape == (1, 32, 32)
    assert set(item["label"].flatten().tolist()) <= {0, 2}


def test_slices_of_a_split_come_from_its_cases_only(tmp_path: Path) -> None:
    data = prepare_site(load_site(write_site(tmp_path, "s", counts=(2, 1, 1))), tiny_experiment().preprocessing, ORGANS)
    files = {split: {entry.case.path for entry in slices_of(cases)} for split, cases in data.cases.items()}
    assert not files[Split.TRAINING] & (files[Split.VALIDATION] | files[Split.TEST])
    assert data.training_slices == 12
