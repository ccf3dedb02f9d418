"""A fingerprint that cannot be trusted, or that is at odds with another, is named, all of them at once."""

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgin.data.site import load_site
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint
from fedgin.errors import DataError, FedginError
from fedgin.planning.fingerprints import load_fingerprints, read_fingerprints
from fedgin.planning.plan import Wishes, make_plan
from tests.data.validation.small_site import SmallSite
from tests.planning.shared import fingerprint


def refusal(*found: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        read_fingerprints([(f"file {number}", each) for number, each in enumerate(found, start=1)])
    return str(caught.value)


@pytest.mark.parametrize("counts", [(4, 3, 0), (2, 1, 0)])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_what_a_validation_writes_is_read(tmp_path: Path, modality: str, counts: tuple[int, int, int]) -> None:
    contract = load_site(SmallSite(tmp_path, modality=modality, counts=counts).save())
    written = json.loads(json.dumps(build_fingerprint(validate_site(contract), bytes(32))))
    [read] = read_fingerprints([("a", written), ("b", fingerprint("other"))])[:1]
    assert (read.site, read.modality.value) == ("hospital-a", modality)
    assert read.training_cases == (4 if counts[0] == 4 else 0)
    assert read.labels("liver") == (counts[0] == 4)


def test_sites_come_sorted() -> None:
    assert [each.site for each in read_fingerprints([("", fingerprint(name)) for name in "cab"])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([fingerprint("a", fedgin="9.9.9")], "a: written by fedgin 9.9.9, this is"),
        (
            [fingerprint("a", verdict="FAIL", findings={"two_grids": "<3"})],
            "a: its dataset fails the validation (two_grids), and so would the plan",
        ),
        ([fingerprint("a", verdict="FAIL", findings={"organ_never_seen": None})], "validation (organ_never_seen), and"),
        ([fingerprint("a", verdict="FAIL")], "fails the validation (in a split too small to be told of), and"),
        ([fingerprint("a"), fingerprint("a", dataset="f" * 64)], "a: 2 fingerprints have this name"),
        (
            [fingerprint("a"), fingerprint("b", dataset=fingerprint("a")["dataset"])],
            "a and b: one dataset under several names",
        ),
        ([fingerprint("a", cases=2), fingerprint("b", cases=2)], "no site has three training cases"),
        ([fingerprint("a", extra=1)], "file 1: 'extra': unknown key"),
        (
            [fingerprint("a", training=fingerprint(cases=2)["training"])],
            "has no numbers of them",
        ),
        ([fingerprint("a", spacing=(0.001, 1.0, 1.0))], "training.spacing_mm is beyond 0.11 to 20 mm"),
        ([fingerprint("../a")], "'site'"),
        ([fingerprint("a", voxels={})], "'voxels.left_right'"),
        ([fingerprint("a", intensity_percentiles={"p50": {"p25": 2.0, "p50": 1.0}})], "percentiles do not ascend"),
    ],
)
def test_a_fault_is_named(found: list[dict[str, Any]], said: str) -> None:
    assert said in refusal(*found)


def with_volume(litres: float) -> dict[str, Any]:
    found = fingerprint("a")
    found["organs"]["liver"]["volume_ml"] = dict.fromkeys(("p25", "p50", "p75"), litres * 1000)
    return found


def test_an_organ_may_have_more_than_ten_litres_and_less_than_a_room() -> None:
    [read] = read_fingerprints([("a", with_volume(60.0))])
    assert read.organs["liver"].volume_ml == {"p25": 60_000.0, "p50": 60_000.0, "p75": 60_000.0}
    assert "expected sizes above 0, up to 1e+06" in refusal(with_volume(1001.0))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.just({}),
    st.just([]),
)


def places(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths to everything in nested mappings."""
    inner = values.items() if isinstance(values, dict) else ()
    return [path] * bool(path) + [place for key, value in inner for place in places(value, (*path, key))]


@given(st.data())
@settings(max_examples=100)
def test_whatever_a_site_sends_it_is_read_or_refused_and_a_plan_is_made_or_refused(data: st.DataObject) -> None:
    changed = fingerprint("b", data.draw(st.sampled_from(["CT", "MR"])))
    *above, last = data.draw(st.sampled_from(places(changed)))
    part = functools.reduce(dict.__getitem__, above, changed)
    if data.draw(st.booleans()):
        del part[last]
    else:
        part[last] = data.draw(JUNK)
    with contextlib.suppress(FedginError):
        planned = make_plan("planned", read_fingerprints([("a", fingerprint("a")), ("b", changed)]), Wishes())
        assert "a" in planned.sites


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(json.dumps(fingerprint("b", verdict="FAIL")))
    with pytest.raises(DataError) as caught:
        load_fingerprints([tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"])
    for said in ("a.json: not readable as JSON", "b: its dataset fails", "c.json: no such file"):
        assert said in caught.value.problem
