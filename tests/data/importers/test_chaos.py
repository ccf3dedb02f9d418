"""CHAOS's layout: slices and pictures are brought together; what does not fit is refused."""

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedgin.data.datalist import Split, read_datalist
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import ArchiveSite, write_archive_sites
from fedgin.data.importers.chaos import read_chaos
from fedgin.data.importers.png_reference import by_number
from fedgin.data.site import load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.errors import DataError
from tests.data.importers.miniature_archives import right_way_round, write_chaos, write_chaos_case
from tests.real_data import real_data

TRAIN = "Train_Sets"
T1, T2 = f"{TRAIN}/MR/1/T1DUAL", f"{TRAIN}/MR/1/T2SPIR"


def bring_in(source: Path, out: Path) -> list[ArchiveSite]:
    return write_archive_sites(read_chaos(source), out, SplitRules(seed=42))


def read(site: ArchiveSite, part: str, case: str) -> NDArray[Any]:
    """Return the voxels of an image or label, axes to the right, the front and the head."""
    volume = nibabel.load(site.contract.parent / part / f"{case}.nii.gz")
    return np.asarray(nibabel.as_closest_canonical(volume).dataobj)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chaos(tmp_path_factory.mktemp("chaos"), [1, 2], [1, 2])


def test_slices_and_pictures_become_volumes_whichever_way_they_are_numbered(source: Path, tmp_path: Path) -> None:
    ct, mr = bring_in(source, tmp_path / "sites")
    assert (ct.labels, mr.labels) == ({"liver": 1}, {"liver": 1, "spleen": 4})
    for number in (1, 2):  # from the feet, and from the head
        image, label = (read(ct, part, f"ct_{number:02}") for part in ("images", "labels"))
        drawn, organs = right_way_round("CT", number)
        np.testing.assert_allclose(image, np.maximum(np.rint(drawn), -1024.0))
        np.testing.assert_array_equal(label == 1, organs == 1)
    label = read(mr, "labels", "mr_01_t1out")
    np.testing.assert_array_equal(label, np.array([0, 1, 4])[right_way_round("MR", 1)[1]])


def test_all_sequences_of_a_patient_are_in_one_split(source: Path, tmp_path: Path) -> None:
    _, mr = bring_in(source, tmp_path / "sites")
    assert mr.cases.total() == 6
    datalist = read_datalist(mr.contract.parent / "datalist.json")
    patients = [{entry.patient for entry in datalist.entries(split)} for split in Split]
    assert sorted(map(len, patients)) == [0, 1, 1]
    assert {len(datalist.entries(split)) for split in Split} == {0, 3}


def test_all_that_is_missing_is_said_at_once(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "chaos"
    shutil.copytree(source, broken)
    next((broken / T1 / "Ground").iterdir()).unlink()
    shutil.rmtree(broken / T2 / "Ground")
    (broken / TRAIN / "CT/2/DICOM_anon/IMG-0001-00003.dcm").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        bring_in(broken, tmp_path / "sites")
    for part in (
        "lacks files of 4 cases",
        "ct_02: DICOM_anon/IMG-0001-00003.dcm",
        "mr_01_t1in: T1DUAL/Ground has 5 pictures for 6 slices",
        "mr_01_t1out: T1DUAL/Ground has 5 pictures for 6 slices",
        "mr_01_t2: T2SPIR/Ground",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "sites").exists()


def test_damaged_files_are_said_at_once_and_the_second_run_continues(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "chaos"
    shutil.copytree(source, broken)
    slice_, picture = broken / TRAIN / "CT/1/DICOM_anon/i0002,0000b.dcm", broken / T2 / "Ground/IMG-0002-00001.png"
    whole = {path: path.read_bytes() for path in (slice_, picture)}
    slice_.write_bytes(whole[slice_][:300])
    Image.fromarray(np.full((36, 40), 20, dtype=np.uint8)).save(picture)
    with pytest.raises(DataError, match=r"ct_01: i0002,0000b\.dcm is no DICOM.*; mr_01_t2: .*no organ, such as 20"):
        bring_in(broken, tmp_path / "sites")
    label = tmp_path / "sites" / "chaos-mr" / "labels" / "mr_02_t2.nii.gz"
    computed = label.stat().st_ino
    for path, content in whole.items():
        path.write_bytes(content)
    assert [site.cases.total() for site in bring_in(broken, tmp_path / "sites")] == [2, 6]
    assert label.stat().st_ino == computed, "what did not change is not computed again"


@pytest.mark.parametrize(("tint", "said"), [(0, ""), (9, r"IMG-0002-00001\.png is not a grey picture")])
def test_a_picture_with_a_palette_is_read_if_it_is_grey(source: Path, tmp_path: Path, tint: int, said: str) -> None:
    other = tmp_path / "chaos"
    shutil.copytree(source, other)
    path = other / T2 / "Ground/IMG-0002-00001.png"
    greys = np.array(Image.open(path))
    picture = Image.fromarray(255 - greys)
    entries = np.repeat(np.arange(255, -1, -1)[:, None], 3, axis=1)
    entries[:, 1] = np.maximum(entries[:, 1], tint)
    picture.putpalette(entries.astype(np.uint8).tobytes())
    picture.save(path)
    if said:
        with pytest.raises(DataError, match=said):
            bring_in(other, tmp_path / "sites")
        return
    for site, whole in zip(bring_in(other, tmp_path / "sites"), bring_in(source, tmp_path / "whole"), strict=True):
        for label in (whole.contract.parent / "labels").iterdir():
            found = nibabel.load(site.contract.parent / "labels" / label.name)
            np.testing.assert_array_equal(found.dataobj, nibabel.load(label).dataobj)


def test_a_missing_slice_in_the_middle_is_refused(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "chaos"
    shutil.copytree(source / TRAIN / "CT" / "1", broken / TRAIN / "CT" / "1")
    (broken / TRAIN / "CT/1/DICOM_anon/i0002,0000b.dcm").unlink()
    (broken / TRAIN / "CT/1/Ground/liver_GT_002.png").unlink()
    with pytest.raises(DataError, match=r"ct_01: DICOM_anon: .*slice"):
        bring_in(broken, tmp_path / "sites")


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["i0010,0000b.dcm", "i0009,0000b.dcm", "i0100,0000b.dcm"]
    assert [path.name[:5] for path in by_number([Path(name) for name in names])] == ["i0009", "i0010", "i0100"]
    assert by_number([Path("liver_GT_10.png"), Path("liver_GT_9.png")])[0].name == "liver_GT_9.png"


def test_absent_and_secret_cases_are_counted(source: Path, tmp_path: Path) -> None:
    (tmp_path / "Test_Sets" / "MR" / "4").mkdir(parents=True)
    (tmp_path / TRAIN).symlink_to(source / TRAIN)
    archive = read_chaos(tmp_path)
    assert archive.unlabelled == 3
    assert len(archive.absent) == 36
    assert archive.absent[0] == "CT/5"


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SOURCE has no Train_Sets/CT"):
        read_chaos(tmp_path)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_real_patient_is_right_and_with_pictures_in_reverse_order_is_refused(tmp_path: Path, reverse: bool) -> None:
    image, label = (nibabel.load(real_data(f"abdomen_mr/{kind}_38.nii.gz")) for kind in ("mr", "seg"))
    voxels, ids = (np.asarray(nibabel.as_closest_canonical(each).dataobj)[::4, ::4, ::2] for each in (image, label))
    folder = tmp_path / TRAIN / "MR" / "38"
    names = ("DICOM_anon", "IMG-0002-{:05}.dcm", "IMG-0002-{:05}.png")
    write_chaos_case(folder / "T2SPIR", *names, voxels, ids[..., ::-1] if reverse else ids, downwards=True)
    for phase in ("InPhase", "OutPhase"):
        write_chaos_case(folder / "T1DUAL", f"DICOM_anon/{phase}", *names[1:], voxels, ids, downwards=True)
    if reverse:
        with pytest.raises(DataError, match="mr_38_t2: Ground: the pictures fit the slices better in reverse order"):
            bring_in(tmp_path, tmp_path / "sites")
        return
    (site,) = bring_in(tmp_path, tmp_path / "sites")
    assert site.labels == {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
    np.testing.assert_array_equal(read(site, "labels", "mr_38_t2"), ids)
    findings = validate_site(load_site(site.contract)).findings
    planted = {"few_cases", "duplicate_image"}  # one patient, whose three sequences are the same image here
    assert {finding.code for finding in findings if finding.severity is not Severity.PASS} == planted
