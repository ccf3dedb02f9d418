import json
from pathlib import Path

import pytest

from fedgin.data.datalist import Split, list_cases, read_datalist
from fedgin.data.site import load_site
from fedgin.errors import ConfigError, DataError
from tests.sites import write_site


def entry(stem: str, patient: str | None = None) -> dict[str, str]:
    named = {"image": f"{stem}.nii.gz", "label": f"{stem}_seg.nii.gz"}
    return named | ({"patient": patient} if patient else {})


def write(path: Path, **splits: object) -> Path:
    path.write_text(json.dumps(splits))
    return path


def test_further_msd_keys_are_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "d.json", name="Task03", training=[entry("a")], validation=[entry("b")])
    assert read_datalist(path).test == []


@pytest.mark.parametrize(
    ("splits", "named"),
    [
        ({"training": [], "name": "Task03"}, "no case under 'training', 'validation' or 'test'"),
        ({"training": [{"image": "a"}], "validation": [entry("b")]}, "'training.1.label'"),
        (
            {"training": [entry("a") | {"fold": 1}], "validation": [entry("b")]},
            "'training.1': unknown key; an entry has image, label, patient",
        ),
    ],
)
def test_a_wrong_datalist_names_its_key(tmp_path: Path, splits: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_datalist(write(tmp_path / "d.json", **splits))
    assert named in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_byte_order_mark_is_no_fault(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"training": [entry("ä")], "validation": [entry("b")]}, ensure_ascii=False), encoding)
    assert [str(one.image) for one in read_datalist(path).training] == ["ä.nii.gz"]


def test_test_images_without_labels_are_counted_and_not_used(tmp_path: Path) -> None:
    """The Decathlon's own dataset.json: the labels of its test cases are secret."""
    splits = {"training": [entry("a")], "validation": [entry("b")], "test": ["./imagesTs/c.nii.gz", entry("d")]}
    datalist = read_datalist(write(tmp_path / "d.json", numTest=2, **splits))
    assert ([str(case.image) for case in datalist.test], datalist.test_names) == (["d.nii.gz"], 1)


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="validation case 1 is the same file as training case 1"):
        read_datalist(write(tmp_path / "d.json", training=[entry("a")], validation=[entry("a")]))


def test_a_patient_in_two_splits_is_refused_without_being_named(tmp_path: Path) -> None:
    splits = {"training": [entry("a", "DOE^JANE")], "validation": [entry("b", "DOE^JANE")]}
    with pytest.raises(DataError, match="same patient as training case 1") as caught:
        read_datalist(write(tmp_path / "d.json", **splits))
    assert "DOE" not in str(caught.value)


def test_a_patient_may_have_several_cases_in_one_split(tmp_path: Path) -> None:
    splits = {"training": [entry("a", "p"), entry("b", "p")], "validation": [entry("c")]}
    assert len(read_datalist(write(tmp_path / "d.json", **splits)).training) == 2


def test_a_missing_file_is_named_by_case_number(tmp_path: Path) -> None:
    path = write_site(tmp_path, "site-1")
    (tmp_path / "case1_seg.nii.gz").unlink()
    with pytest.raises(DataError, match="site site-1, training case 2: the label file is missing") as caught:
        list_cases(load_site(path))
    assert "case1" not in str(caught.value)


def test_cases_carry_split_and_number(tmp_path: Path) -> None:
    cases = list_cases(load_site(write_site(tmp_path, "site-1", counts=(3, 1, 2))))
    assert [case.number for case in cases[Split.TRAINING]] == [1, 2, 3]
    assert len(cases[Split.TEST]) == 2
