from pathlib import Path

import pytest
import yaml

from fedgin.data.dicom.rules import IngestRules, load_rules
from fedgin.errors import ConfigError
from tests.data.dicom.series import make_rules

TEXT = """
site: hospital-a
modality: CT
include: (?i)abdomen|portal
exclude: (?i)lung
labels:
  map: {Liver: liver, Left lobe: liver, Spleen: spleen}
  may_be_absent: [spleen]
split: {validation: 2, test: 0.25}
"""


def test_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "ingest.yaml").write_text(TEXT)
    rules = load_rules(tmp_path / "ingest.yaml")
    assert rules.labels.ids == {"liver": 1, "spleen": 2}
    assert rules.labels.by_segment == {"liver": "liver", "left lobe": "liver", "spleen": "spleen"}
    assert (rules.split.validation, rules.split.test) == (2, 0.25)
    assert isinstance(rules.split.validation, int)


@pytest.mark.parametrize(
    ("description", "wanted"),
    [("CT ABDOMEN 3.0", True), ("portal venous", True), ("Abdomen lung window", False), ("Head", False), ("", False)],
)
def test_patterns_select(tmp_path: Path, description: str, wanted: bool) -> None:
    (tmp_path / "ingest.yaml").write_text(TEXT)
    assert load_rules(tmp_path / "ingest.yaml").selects(description) is wanted


def test_no_pattern_takes_every_description() -> None:
    assert make_rules().selects("")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "PT"}, "'modality'"),
        ({"include": "("}, "'include': not a valid regular expression"),
        ({"minimum_slices": 1}, "'minimum_slices'"),
        ({"colour": True}, "unknown key"),
        ({"site": "a b"}, "'site'"),
        ({"labels": {"source": "nrrd"}}, "'labels.source'"),
        ({"labels": {}}, "give 'map' with source dicom_seg"),
        ({"labels": {"source": "none", "map": {"a": "b"}}}, "no 'map' with source none"),
        ({"labels": {"source": "nifti", "map": {"1": "liver"}}}, "give 'folder' with source nifti"),
        ({"labels": {"folder": "/masks", "map": {"Liver": "liver"}}}, "with no other source"),
        ({"labels": {"source": "nifti", "folder": "masks", "map": {"1": "liver"}}}, "must be an absolute path"),
        ({"labels": {"source": "nifti", "folder": "/masks", "map": {"Liver": "liver"}}}, "ids are 1 to 255"),
        ({"labels": {"source": "nifti", "folder": "/masks", "map": {"256": "liver"}}}, "ids are 1 to 255"),
        ({"labels": {"map": {"Liver": "Liver"}}}, "'labels.map.Liver'"),
        ({"labels": {"map": {"Liver": "liver", " liver": "liver"}}}, "differ only in case"),
        ({"labels": {"map": {"Liver": "liver"}, "may_be_absent": ["spleen"]}}, "spleen, which is not in 'map'"),
        ({"split": {"validation": 1.5}}, "'split.validation"),
        ({"split": {"test": -1}}, "'split.test"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    values = {"site": "a", "modality": "CT", "labels": {"source": "none"}, **change}
    (tmp_path / "ingest.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path / "ingest.yaml")
    assert message in str(caught.value)


def test_missing_rules_show_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"write them, for example: \{site: hospital-a"):
        load_rules(tmp_path / "ingest.yaml")


def test_more_organs_than_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 255"):
        IngestRules.model_validate(
            {"site": "a", "modality": "CT", "labels": {"map": {f"s{n}": f"o{n}" for n in range(256)}}}
        )
