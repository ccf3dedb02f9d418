import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fedgin.data.cache import CaseCache
from fedgin.data.limits import LimitError
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.errors import DataError
from tests.sites import make_case, make_volume

SETTINGS = Preprocessing(spacing_mm=10.0, size=(32, 32))


def cache(folder: Path, organs: tuple[str, ...] = ("liver", "spleen"), settings: Preprocessing = SETTINGS) -> CaseCache:
    return CaseCache(folder / "cache", settings, organs)


def test_a_second_look_reads_what_the_first_wrote(tmp_path: Path) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    first = cache(tmp_path).get(case)
    written = first.path.stat().st_mtime_ns
    again = cache(tmp_path).get(case)
    assert again.path == first.path
    assert again.path.stat().st_mtime_ns == written
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_slices_equal_the_whole(tmp_path: Path) -> None:
    entry = cache(tmp_path).get(make_case(tmp_path, *make_volume("CT", 0)))
    whole = entry.read("image")
    for position in range(len(whole)):
        torch.testing.assert_close(entry.read("image", position), whole[position], rtol=0, atol=0)
    assert entry.read("image", 0).untyped_storage().nbytes() == whole[0].numel() * 4
    labels = entry.read("label")
    assert entry.shown == [tuple(label[label > 0].unique().tolist()) for label in labels]


@pytest.mark.parametrize("change", ["image", "label", "organs", "settings", "map", "ignore"])
def test_whatever_changes_misses_the_cache(tmp_path: Path, change: str) -> None:
    image, label = make_volume("CT", 0)
    case = make_case(tmp_path, image, label)
    before = cache(tmp_path).get(case).path
    if change == "image":
        case = make_case(tmp_path, image + 1.0, label)
    if change == "label":
        label[10, 12, 2] = 2
        case = make_case(tmp_path, image, label)
    if change == "map":
        case = dataclasses.replace(case, label_ids={"liver": 2, "spleen": 1})
    if change == "ignore":
        case = dataclasses.replace(case, ignore="others")
    organs = ("spleen", "liver") if change == "organs" else ("liver", "spleen")
    settings = SETTINGS.model_copy(update={"spacing_mm": 9.0}) if change == "settings" else SETTINGS
    assert cache(tmp_path, organs, settings).get(case).path != before


def test_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    entry = cache(tmp_path).get(case)
    whole = entry.read("image")
    entry.path.write_bytes(entry.path.read_bytes()[:100])
    torch.testing.assert_close(cache(tmp_path).get(case).read("image"), whole)


def swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def link(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def poison(path: Path, other: Path) -> None:
    """Change the image and keep the rest, header included."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    save_file(tensors | {"image": torch.full_like(tensors["image"], torch.nan)}, path, header)


def strip(path: Path, other: Path) -> None:
    save_file({name: torch.zeros(2) for name in ("image", "label", "body")}, path)


def flip_a_bit(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [swap, link, poison, strip, flip_a_bit])
def test_an_entry_that_is_not_as_it_was_written_is_computed_again(
    tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    other = cache(tmp_path).get(make_case(tmp_path / "other", *make_volume("CT", 1)))
    case = make_case(tmp_path, *make_volume("CT", 0))
    entry = cache(tmp_path).get(case)
    whole, kept = entry.read("image"), other.path.read_bytes()
    change(entry.path, other.path)
    again = cache(tmp_path).get(case)
    torch.testing.assert_close(again.read("image"), whole, rtol=0, atol=0)
    assert len(again.shown) == len(whole)
    assert other.path.read_bytes() == kept


def test_a_refused_case_leaves_nothing_behind(tmp_path: Path) -> None:
    image, _ = make_volume("CT", 0)
    case = make_case(tmp_path, image, np.zeros(image.shape, np.uint8))
    with pytest.raises(DataError, match="shows none of liver, spleen"):
        cache(tmp_path).get(case)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    case = make_case(tmp_path, *make_volume("CT", 0))
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="the cache folder cannot be written"):
        cache(tmp_path).get(case)


def test_organs_without_a_label_at_the_site_are_known(tmp_path: Path) -> None:
    entry = cache(tmp_path, ("pancreas", "liver")).get(make_case(tmp_path, *make_volume("CT", 0)))
    assert entry.labelled == ("liver",)
    assert set(entry.read("label").flatten().tolist()) == {0, 2}


def test_a_cached_file_that_vanishes_while_it_is_in_use_is_named_by_its_case(tmp_path: Path) -> None:
    entry = cache(tmp_path).get(make_case(tmp_path, *make_volume("CT", 0)))
    assert entry.shown
    entry.path.unlink()
    with pytest.raises(DataError, match="site-1, training case 1: its file in the cache cannot be read") as caught:
        entry.read("image", 0)
    assert str(tmp_path) not in str(caught.value)
    assert len(cache(tmp_path).get(entry.case).read("image")) == len(entry.shown)


def test_a_cache_that_would_hold_more_than_it_may_is_left_as_it_is(tmp_path: Path) -> None:
    cases = [make_case(tmp_path / str(number), *make_volume("CT", number)) for number in range(2)]
    held = cache(tmp_path).get(cases[0]).path
    full = CaseCache(tmp_path / "cache", SETTINGS, ("liver", "spleen"), most=1.5 * held.stat().st_size)
    assert full.get(cases[0]).path == held
    with pytest.raises(LimitError, match=r"cache folder would hold more than .* GB. Fix: empty the folder"):
        full.get(cases[1])
    assert list((tmp_path / "cache").iterdir()) == [held]
