"""Nothing that may leave the site, and no message, holds an identifier that was planted in it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedgin.cli.site import site_app
from fedgin.data.site import load_site
from fedgin.data.small_groups import MIN_GROUP, suppress
from fedgin.data.validation import validate_site
from fedgin.data.validation.fingerprint import build_fingerprint, deciles
from fedgin.data.validation.site_key import keyed_hash, load_key
from tests.data.validation.small_site import BORN, NAME, RECORD, SmallSite
from tests.data.validation.test_validation_faults import FAULTS

PLANTED = re.compile("|".join((NAME, RECORD, BORN)), re.IGNORECASE)
KEY = bytes(32)


def fingerprint(site: SmallSite, key: bytes = KEY) -> dict[str, object]:
    return build_fingerprint(validate_site(load_site(site.save())), key)


def numbers(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in numbers(part)]
    return [value]


def test_no_planted_identifier_is_in_any_output(tmp_path: Path) -> None:
    """All faults at once: every kind of message is written, and every file but the local page is searched."""
    for number, (break_it, _, _) in enumerate(FAULTS):
        folder = tmp_path / f"{number}"
        site = SmallSite(folder / "data")
        break_it(site)
        command = ["validate", str(site.save()), "--out", str(folder / "out"), "--format", "json"]
        result = CliRunner().invoke(site_app, command)
        shared = [path.read_text() for path in (folder / "out").glob("*.json")]
        assert len(shared) == 2
        for text in (result.output, *shared):
            assert not PLANTED.search(text), break_it.__name__
            assert str(tmp_path) not in text


def test_even_the_local_page_names_cases_by_number_only(tmp_path: Path) -> None:
    site = SmallSite(tmp_path / "data")
    CliRunner().invoke(site_app, ["validate", str(site.save()), "--out", str(tmp_path)])
    page = (tmp_path / "validation.html").read_text()
    assert not PLANTED.search(page)
    assert "Local only" in page


@pytest.mark.parametrize(
    ("count", "total", "shared"),
    [
        (0, 9, "<3"),
        (2, 9, "<3"),
        (3, 9, 3),
        (6, 9, 6),
        (7, 9, ">6"),
        (8, 9, ">6"),
        (9, 9, 9),
        (3, None, 3),
        (2, 2, "<3"),
    ],
)
def test_small_groups_and_their_complements_are_not_counted(count: int, total: int | None, shared: object) -> None:
    assert suppress(count, total) == shared


def test_a_split_of_two_is_in_no_statistic(tmp_path: Path) -> None:
    plain = fingerprint(SmallSite(tmp_path / "a"))
    changed = SmallSite(tmp_path / "b")
    changed.change("image", lambda image: image + 500, "validation", 1)
    other = fingerprint(changed)
    assert plain["cases"] == {"training": 3, "validation": "<3", "test": "<3"}
    assert plain.pop("dataset") != other.pop("dataset")
    assert plain == other


def test_a_site_of_small_splits_shares_no_statistic(tmp_path: Path) -> None:
    found = fingerprint(SmallSite(tmp_path, counts=(2, 1, 2)))
    assert found["orientations"] == {}
    for part in ("spacing_mm", "field_of_view_mm", "voxels", "intensity_percentiles", "training"):
        assert set(numbers(found[part])) == {None}
    assert set(numbers(found["organs"])) == {None, "<3"}


def test_tails_are_of_groups_in_which_three_lie_beyond_them() -> None:
    twelve = deciles(range(12))
    assert twelve is not None
    assert sorted(twelve) == ["p10", "p25", "p50", "p75", "p90"]
    assert sum(value <= -(-twelve["p10"] // 1) for value in range(12)) == MIN_GROUP
    assert sorted(deciles(range(11)) or {}) == ["p25", "p50", "p75"]
    assert deciles(range(2)) is None


def test_what_a_plan_rests_on_is_of_the_training_cases_alone(tmp_path: Path) -> None:
    plain = fingerprint(SmallSite(tmp_path / "a", counts=(3, 3, 0)))
    changed = SmallSite(tmp_path / "b", counts=(3, 3, 0))
    for number in (1, 2, 3):
        changed.change("image", lambda image: image + 500, "validation", number)
    other = fingerprint(changed)
    assert plain["training"] == other["training"]
    assert plain["intensity_percentiles"] != other["intensity_percentiles"]


def test_an_organ_that_two_cases_lack_does_not_tell_how_many(tmp_path: Path) -> None:
    site = SmallSite(tmp_path, counts=(6, 2, 0))
    for number in (1, 2):
        site.change("label", lambda label: label * (label != 2), "training", number)
    organs = fingerprint(site)["organs"]
    assert isinstance(organs, dict)
    assert organs["spleen"]["cases"] == ">3"
    assert organs["liver"]["cases"] == 6


def test_the_hash_needs_the_key_and_ignores_order(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    first = fingerprint(site)["dataset"]
    assert fingerprint(site, b"x" * 32)["dataset"] != first
    site.datalist["training"].reverse()
    assert fingerprint(site)["dataset"] == first


def test_the_key_stays_the_same_and_is_private(tmp_path: Path) -> None:
    key = load_key(tmp_path / "out")
    assert load_key(tmp_path / "out") == key
    assert (tmp_path / "out" / "site.key").stat().st_mode & 0o777 == 0o600
    assert keyed_hash(key, b"ab", b"c") != keyed_hash(key, b"a", b"bc")


def lose_the_spleen(site: SmallSite, split: str, *numbers: int) -> None:
    for number in numbers:
        site.change("label", lambda label: label * (label != 2), split, number)


@pytest.mark.parametrize(
    ("lacking", "found"), [(0, {}), (1, "<3"), (2, "<3"), (3, 3), (4, ">3"), (5, ">3")], ids=lambda value: str(value)
)
def test_a_finding_is_counted_as_any_other_group(tmp_path: Path, lacking: int, found: object) -> None:
    site = SmallSite(tmp_path, counts=(6, 0, 0))
    lose_the_spleen(site, "training", *range(1, lacking + 1))
    findings = fingerprint(site)["findings"]
    assert isinstance(findings, dict)
    assert findings.get("organ_absent", {}) == found


def test_a_finding_in_a_split_of_two_is_not_told(tmp_path: Path) -> None:
    plain, changed = SmallSite(tmp_path / "a", counts=(4, 2, 0)), SmallSite(tmp_path / "b", counts=(4, 2, 0))
    for site in (plain, changed):
        lose_the_spleen(site, "training", 1, 2, 3)
    lose_the_spleen(changed, "validation", 1)
    assert fingerprint(plain)["findings"] == fingerprint(changed)["findings"]


def test_the_fingerprint_is_json_with_the_findings_counted(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    site.labels["pancreas"] = 5
    found = json.loads(json.dumps(fingerprint(site)))
    assert found["findings"] == {"organ_never_seen": None}
    assert found["verdict"] == "FAIL"
