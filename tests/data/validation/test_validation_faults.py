"""One deliberately broken copy of a healthy site for each kind of fault: exactly its finding, and nothing else."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from fedgin.data.site import load_site
from fedgin.data.validation import Finding, Severity, Validation, validate_site
from fedgin.errors import ConfigError
from tests.data.validation.small_site import AFFINE, SHAPE, SmallSite, draw_case
from tests.modes import bound_by_modes

FAIL, WARN = Severity.FAIL, Severity.WARN


def validate(site: SmallSite) -> Validation:
    return validate_site(load_site(site.save()))


def faults(validation: Validation) -> list[Finding]:
    return [finding for finding in validation.findings if finding.severity is not Severity.PASS]


def missing(site: SmallSite) -> None:
    site.path("training", 1, "label").unlink()


def truncated(site: SmallSite) -> None:
    path = site.path("training", 1, "image")
    path.write_bytes(path.read_bytes()[:400])


def no_nifti(site: SmallSite) -> None:
    site.path("training", 1, "label").write_bytes(b"not an image")


def four_axes(site: SmallSite) -> None:
    site.write("training", 1, "image", draw_case(0)[0][..., None, None].repeat(2, -1))


def colours(site: SmallSite) -> None:
    pixels = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(pixels, AFFINE), site.path("training", 1, "image"))


def nan(site: SmallSite) -> None:
    image = draw_case(0)[0].astype(np.float32)
    image[1, 2, 3] = np.nan
    site.write("training", 1, "image", image)


def constant(site: SmallSite) -> None:
    site.change("image", np.zeros_like)


def mr_in_ct(site: SmallSite) -> None:
    site.write("training", 1, "image", draw_case(0, "MR")[0])


def another_shape(site: SmallSite) -> None:
    site.change("label", lambda label: label[:-1])


def another_position(site: SmallSite) -> None:
    moved = AFFINE.copy()
    moved[2, 3] = 0.5
    site.write("training", 1, "label", draw_case(0)[1], moved)


def another_spacing_in_the_sform(site: SmallSite) -> None:
    rewrite_header(site, lambda image: image.set_sform(np.eye(4)), "training", 1)


def other_side_in_the_qform(site: SmallSite) -> None:
    rewrite_header(site, lambda image: image.set_qform(AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0]), code=1), "training", 1)


def shifted_qform(site: SmallSite) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 20
    rewrite_header(site, lambda image: image.set_qform(moved, code=1), "training", 1)


def neither_form(site: SmallSite) -> None:
    """All cases, because nibabel then assumes an x axis that leads to the left."""
    for split, count in (("training", 3), ("validation", 2)):
        for number in range(1, count + 1):
            for role in ("image", "label"):
                site.write(split, number, role, site.read(split, number, role)[::-1])
            rewrite_header(site, lambda image: (image.set_sform(None), image.set_qform(None)), split, number)


def rewrite_header(site: SmallSite, change: Callable[[Any], object], split: str, number: int) -> None:
    for role in ("image", "label"):
        path = site.path(split, number, role)
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
        change(image)
        nibabel.save(image, path)


def metres(site: SmallSite) -> None:
    for role in ("image", "label"):
        site.write("training", 1, role, site.read("training", 1, role).repeat(4, 2), np.diag([8.0, 8.0, 0.1, 1.0]))


def another_orientation(site: SmallSite) -> None:
    for role in ("image", "label"):
        site.write("training", 1, role, site.read("training", 1, role)[::-1], AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0]))


def unknown_id(site: SmallSite) -> None:
    site.change("label", lambda label: np.where(label == 0, 9, label).astype(np.uint8))


def fractional_id(site: SmallSite) -> None:
    site.change("label", lambda label: label.astype(np.float32) / 2)


def empty_label(site: SmallSite) -> None:
    site.change("label", np.zeros_like)


def absent_organ(site: SmallSite) -> None:
    site.change("label", lambda label: np.where(label == 3, 0, label).astype(np.uint8))


def tiny_organ(site: SmallSite) -> None:
    def shrink(label: np.ndarray) -> np.ndarray:
        small = np.where(label == 3, 0, label).astype(np.uint8)
        small[15, 4, 2] = 3
        return small

    site.change("label", shrink)


def never_seen(site: SmallSite) -> None:
    site.labels["pancreas"] = 5


def misspelt_organ(site: SmallSite) -> None:
    site.labels = {"livr" if name == "liver" else name: number for name, number in site.labels.items()}


def another_name(site: SmallSite) -> None:
    site.labels["kidney_left"] = site.labels.pop("left_kidney")


def new_organ(site: SmallSite) -> None:
    site.labels["islet_graft"] = site.labels.pop("spleen")


def mirrored_label(site: SmallSite) -> None:
    site.change("label", lambda label: label[::-1])


def swapped_kidneys(site: SmallSite) -> None:
    site.change("label", lambda label: np.array([0, 1, 2, 4, 3], dtype=np.uint8)[label])


def lone_liver_on_the_left(site: SmallSite) -> None:
    site.labels = {"liver": 2}
    for split, count in (("training", 3), ("validation", 2)):
        for number in range(1, count + 1):
            site.change("label", lambda label: np.where(label == 2, 2, 0).astype(np.uint8), split, number)
    right = np.zeros(SHAPE, dtype=np.uint8)
    right[14:20, 8:14, 5:9] = 2
    for split, number in (("training", 2), ("training", 3), ("validation", 1), ("validation", 2)):
        site.write(split, number, "label", right)


def duplicate_elsewhere(site: SmallSite) -> None:
    site.write("validation", 1, "image", site.read("training", 1, "image").astype(np.float32))


def duplicate_flipped(site: SmallSite) -> None:
    flipped = site.read("training", 1, "image")[::-1, ::-1]
    affine = AFFINE @ np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = (AFFINE @ [SHAPE[0] - 1, SHAPE[1] - 1, 0, 1])[:3]
    for split, number, role in (("training", 2, "image"), ("training", 2, "label")):
        site.write(split, number, role, flipped if role == "image" else draw_case(1)[1][::-1, ::-1], affine)


def listed_twice(site: SmallSite) -> None:
    site.datalist["validation"].append(dict(site.datalist["validation"][0]))


def shared_patient(site: SmallSite) -> None:
    site.datalist["validation"][0]["patient"] = site.datalist["training"][0]["patient"]


def unnamed_patient(site: SmallSite) -> None:
    del site.datalist["training"][0]["patient"]


def few_cases(site: SmallSite) -> None:
    site.datalist["training"] = site.datalist["training"][:2]


def only_evaluates(site: SmallSite) -> None:
    site.datalist["test"] = [*site.datalist.pop("training"), *site.datalist.pop("validation")]


def unlabelled_test(site: SmallSite) -> None:
    site.datalist["test"] = ["./imagesTs/one.nii.gz"]  # type: ignore[list-item]


FAULTS: list[tuple[Callable[[SmallSite], None], Severity, set[str]]] = [
    (missing, FAIL, {"file_missing"}),
    (truncated, FAIL, {"unreadable"}),
    (no_nifti, FAIL, {"unreadable"}),
    (four_axes, FAIL, {"unreadable"}),
    (colours, FAIL, {"unreadable"}),
    (nan, FAIL, {"not_finite"}),
    (constant, FAIL, {"constant"}),
    (mr_in_ct, FAIL, {"wrong_modality"}),
    (another_shape, FAIL, {"two_grids"}),
    (another_position, FAIL, {"two_grids"}),
    (another_spacing_in_the_sform, FAIL, {"geometry_contradicts", "organ_tiny"}),
    (other_side_in_the_qform, FAIL, {"geometry_contradicts"}),
    (shifted_qform, WARN, {"geometry_apart"}),
    (neither_form, WARN, {"geometry_unset"}),
    (metres, WARN, {"spacing"}),
    (another_orientation, WARN, {"orientations_differ"}),
    (unknown_id, FAIL, {"unknown_label_id"}),
    (fractional_id, FAIL, {"unknown_label_id"}),
    (empty_label, FAIL, {"label_empty"}),
    (absent_organ, WARN, {"organ_absent"}),
    (tiny_organ, WARN, {"organ_tiny"}),
    (never_seen, FAIL, {"organ_never_seen"}),
    (misspelt_organ, FAIL, {"organ_misspelt"}),
    (another_name, WARN, {"organ_misspelt"}),
    (new_organ, WARN, {"organ_unknown"}),
    (mirrored_label, WARN, {"left_right"}),
    (swapped_kidneys, WARN, {"left_right"}),
    (lone_liver_on_the_left, WARN, {"left_right"}),
    (duplicate_elsewhere, FAIL, {"duplicate_image"}),
    (duplicate_flipped, WARN, {"duplicate_image", "orientations_differ"}),
    (listed_twice, FAIL, {"listed_twice"}),
    (shared_patient, FAIL, {"patient_in_two_splits"}),
    (unnamed_patient, WARN, {"patient_unnamed"}),
    (few_cases, WARN, {"few_cases"}),
    (only_evaluates, WARN, {"few_cases"}),
    (unlabelled_test, WARN, {"test_unlabelled"}),
]


def test_a_healthy_site_passes_every_group_of_checks(tmp_path: Path) -> None:
    validation = validate(SmallSite(tmp_path))
    assert faults(validation) == []
    assert validation.verdict is Severity.PASS
    assert len(validation.findings) == 12


def test_a_kit_whose_ids_are_not_those_of_the_data_fails(tmp_path: Path) -> None:
    made = SmallSite(tmp_path / "data").save()
    contract = yaml.safe_load(made.read_text()) | {"data_root": str(made.parent)}
    kit = tmp_path / "kit.yaml"
    kit.write_text(yaml.safe_dump(contract | {"labels": {"spleen": 2, "right_kidney": 3, "left_kidney": 4}}))
    assert "ids_differ" not in {finding.code for finding in validate_site(load_site(kit)).findings}
    kit.write_text(yaml.safe_dump(contract | {"labels": contract["labels"] | {"right_kidney": 4, "left_kidney": 3}}))
    [found] = [finding for finding in validate_site(load_site(kit)).findings if finding.code == "ids_differ"]
    assert found.severity is FAIL
    assert found.message.endswith("has other ids: left_kidney 4, right_kidney 3")


@pytest.mark.parametrize(("break_it", "severity", "codes"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_fault_gives_exactly_its_finding(
    tmp_path: Path, break_it: Callable[[SmallSite], None], severity: Severity, codes: set[str]
) -> None:
    site = SmallSite(tmp_path)
    break_it(site)
    validation = validate(site)
    found = faults(validation)
    assert {finding.code for finding in found} == codes
    assert validation.verdict is severity
    assert all(finding.fix for finding in found)
    assert all("hospital-a" in finding.message for finding in found)


def test_all_cases_are_checked_when_some_are_wrong(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    for fault in (missing, nan, empty_label):
        fault(site)
        site.datalist["training"].append(site.datalist["training"].pop(0))
    validation = validate(site)
    assert {finding.code for finding in faults(validation)} == {"file_missing", "not_finite", "label_empty"}
    assert sum(case.image is not None for case in validation.facts) == 3
    assert sum(finding.severity is Severity.PASS for finding in validation.findings) >= 5


def test_a_single_slice_may_show_few_organs_without_a_volume(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    for role in ("image", "label"):
        site.write("training", 1, role, site.read("training", 1, role)[..., 7:8])
    assert faults(validate(site)) == []


def test_a_case_with_two_faults_reports_both(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    nan(site)
    unknown_id(site)
    assert {finding.code for finding in faults(validate(site))} == {"not_finite", "unknown_label_id"}


def test_an_unreadable_file_of_another_user_is_a_finding(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    site.path("training", 1, "image").chmod(0)
    with bound_by_modes():
        assert [finding.code for finding in faults(validate(site))] == ["unreadable"]


def test_all_unknown_ids_of_all_cases_are_in_one_line(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    site.change("label", lambda label: np.where(label == 0, 9, label).astype(np.uint8))
    site.change("label", lambda label: label + np.uint8(7) * (label == 0), "validation", 2)
    said = [finding for finding in faults(validate(site)) if not finding.case]
    assert [finding.message for finding in said] == [
        "site hospital-a: 2 cases hold ids that are not in the site's label map: 7, 9"
    ]
    assert "'ignore: [7, 9]' or 'ignore: others'" in said[0].fix


def test_a_label_in_another_order_of_axes_is_no_fault(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    turned = site.read("training", 1, "label").transpose(2, 0, 1)[:, ::-1]
    affine = AFFINE[:, [2, 0, 1, 3]] @ np.diag([1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = (AFFINE @ [SHAPE[0] - 1, 0, 0, 1])[:3]
    site.write("training", 1, "label", turned, affine)
    assert faults(validate(site)) == []


def test_a_datalist_that_is_no_json_is_an_error_with_a_fix(tmp_path: Path) -> None:
    path = SmallSite(tmp_path).save()
    (tmp_path / "datalist.json").write_text("{")
    with pytest.raises(ConfigError, match="not readable as JSON"):
        validate_site(load_site(path))
