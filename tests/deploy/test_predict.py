import errno
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from rich.progress import Progress
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.data.dicom.checks import take_apart
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules
from fedgin.data.dicom.scan import Series
from fedgin.data.site import Modality
from fedgin.data.volumes import Volume
from fedgin.deploy.predict import Prediction, Segmenter, measure, open_segmenter, read_nifti
from fedgin.deploy.results import predict
from fedgin.deploy.study import Refused, StudyImage, read_study
from fedgin.errors import DataError
from fedgin.folders import MARK, FolderError, whole_folder
from fedgin.train.provenance import Participant
from tests.data.dicom.series import SeriesSpec, write_series
from tests.data.dicom.test_dicom_segmentation import SERIES, drawn_by_hand
from tests.deploy.bundles import make_bundle
from tests.modes import bound_by_modes
from tests.sites import AFFINE, make_volume, tiny_experiment


def write_image(folder: Path, name: str, seed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    image, _ = make_volume("CT", seed)
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), folder / name)
    return folder / name


def segment(folder: Path, *more: str, out: str = "out", env: dict[str, str] | None = None) -> Result:
    """Segment ``in`` of a folder with its bundle."""
    arguments = ["predict", str(folder / "bundle"), str(folder / "in"), "--out", str(folder / out), *more]
    return CliRunner().invoke(app, arguments, env=env)


def refusal(folder: Path) -> DataError:
    """Segment what is refused; return the error, before which nothing was written."""
    error = segment(folder).exception
    assert isinstance(error, DataError)
    assert not (folder / "out").exists()
    return error


def labels_in(path: Path) -> NDArray[np.uint8]:
    return np.asarray(nibabel.load(path).dataobj, dtype=np.uint8)


def test_one_bad_image_stops_no_other(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no image")
    write_image(tmp_path / "in", "c.nii.gz", 1)
    done = segment(tmp_path, "--format", "json")
    assert done.exit_code == 1, done.output
    results = {item["name"]: item for item in json.loads((tmp_path / "out" / "result.json").read_text())["results"]}
    assert json.loads(done.stdout) == list(results.values())
    assert "not readable as NIfTI" in results["b"]["problem"]
    for name in "ac":
        assert results[name]["problem"] == ""
        labels = labels_in(tmp_path / "out" / f"{name}_seg.nii.gz")
        assert labels.shape == (40, 36, 6)
        volumes = {"liver": (labels == 1).sum() * 0.32, "left_kidney": (labels == 2).sum() * 0.32}
        assert results[name]["volumes_ml"] == pytest.approx(volumes)


def test_an_image_that_a_disk_changed_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path, "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match="not readable as NIfTI"):
        read_nifti(path)


def test_endings_in_capitals_are_segmented_and_the_shadows_of_macos_are_not(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz").rename(tmp_path / "in" / "A.NII.GZ")
    write_image(tmp_path / "in", "b.Nii")
    (tmp_path / "in" / "._A.nii.gz").write_bytes(b"\0\5\x16\7Mac OS X")
    (tmp_path / "out").mkdir()
    found = predict(open_segmenter(bundle.folder), tmp_path / "in", tmp_path / "out", lambda *_: None)
    assert [(item.name, item.files, item.problem) for item in found] == [
        ("A", ["A_seg.nii.gz"], ""),
        ("b", ["b_seg.nii.gz"], ""),
    ]
    [alone] = predict(open_segmenter(bundle.folder), tmp_path / "in" / "A.NII.GZ", tmp_path / "out", lambda *_: None)
    assert alone.files == ["A_seg.nii.gz"]


def test_the_table_has_every_name_whole_and_none_is_markup(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    name = "[red]" + "a-long-name-of-an-image-" * 4 + "end"
    write_image(tmp_path / "in", f"{name}.nii.gz")
    done = segment(tmp_path, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    rows = [line.split("│")[1:] for line in done.output.splitlines() if line.startswith("│")]
    assert "".join(row[0].strip() for row in rows) == name
    assert "…" not in done.output


def test_a_folder_holds_the_results_of_one_input(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    for name, files in {"first": "ab", "second": "a"}.items():
        for number, file in enumerate(files):
            write_image(tmp_path / name, f"{file}.nii.gz", number)
    out = tmp_path / "out"

    def run(name: str, *more: str) -> Result:
        arguments = ["predict", str(tmp_path / "bundle"), str(tmp_path / name), "--out", str(out), *more]
        return CliRunner().invoke(app, arguments)

    for _ in range(2):
        assert run("first").exit_code == 0
    (out / "corrected.nii.gz").write_bytes(b"by a radiologist")
    refused = run("second")
    assert isinstance(refused.exception, FolderError)
    assert "--overwrite" in str(refused.exception)
    assert "first" not in (out / MARK).read_text(), "a path may name a patient"
    assert run("second", "--overwrite").exit_code == 0
    found = {path.name for path in out.iterdir()}
    assert found == {"a_seg.nii.gz", "result.json", "report.html", "corrected.nii.gz", MARK}


@pytest.mark.parametrize("place", ["in", "in/series/1"])
def test_a_study_is_not_left_out_for_a_nifti_file_beside_it(tmp_path: Path, place: str) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    write_series(tmp_path / place, SeriesSpec())
    assert refusal(tmp_path).problem == "INPUT holds NIfTI and DICOM files"


def test_results_may_lie_in_the_input(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    for _ in range(2):
        assert segment(tmp_path, out="in/segmented").exit_code == 0


@pytest.mark.parametrize("at_the_top", [True, False])
def test_no_image_in_a_folder_below_is_passed_over(tmp_path: Path, at_the_top: bool) -> None:
    make_bundle(tmp_path)
    for patient in ("Jane_Doe", "John_Doe"):
        (tmp_path / "in" / patient / "hidden").mkdir(parents=True)
        (tmp_path / "in" / patient / "hidden" / "._image.nii.gz").write_bytes(b"of macOS")
        write_image(tmp_path / "in" / patient, "image.nii.gz")
    if at_the_top:
        write_image(tmp_path / "in", "a.nii.gz")
    refused = refusal(tmp_path)
    assert refused.problem == "INPUT holds NIfTI files in 2 folders below it, which would not be segmented"
    assert "Doe" not in str(refused), "a folder may name a patient"


def test_no_image_in_a_folder_that_a_link_leads_to_is_passed_over(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    write_image(tmp_path / "elsewhere", "b.nii.gz")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "Jane_Doe").symlink_to(tmp_path / "elsewhere")
    assert refusal(tmp_path).problem == "INPUT holds NIfTI files in 1 folder below it, which would not be segmented"


def test_no_series_in_a_folder_that_a_link_leads_to_is_passed_over(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_series(tmp_path / "in" / "ct", SeriesSpec())
    write_series(tmp_path / "elsewhere" / "mr", SeriesSpec(modality="MR"))
    (tmp_path / "in" / "Jane_Doe").symlink_to(tmp_path / "elsewhere")
    assert refusal(tmp_path).problem == "INPUT holds DICOM files behind links to folders, which would not be segmented"


def test_a_hidden_link_to_the_same_folder_hides_no_other(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    write_image(tmp_path / "elsewhere", "b.nii.gz")
    (tmp_path / "in" / "scans").mkdir()
    for name in (".latest", "scans/latest"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    assert refusal(tmp_path).problem == "INPUT holds NIfTI files in 1 folder below it, which would not be segmented"


def test_links_to_what_is_segmented_anyway_and_to_other_things_stop_nothing(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_series(tmp_path / "in" / "z", SeriesSpec(count=12, shape=(40, 30)))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").write_text("no image")
    (tmp_path / "in" / "z" / "up").symlink_to(tmp_path / "in")
    for name, target in {"latest": tmp_path / "in" / "z", "notes": tmp_path / "notes"}.items():
        (tmp_path / "in" / name).symlink_to(target)
    with whole_folder(tmp_path / "earlier", holds="predictions of input 1") as part:
        write_image(part, "b.nii.gz")
    (tmp_path / "in" / "segmented").symlink_to(tmp_path / "earlier")
    done = segment(tmp_path)
    assert done.exit_code == 0, done.output


def test_a_link_to_a_folder_around_the_input_is_not_followed(tmp_path: Path) -> None:
    """It may lead to the whole disk; what it leads to is not what was given."""
    make_bundle(tmp_path)
    (tmp_path / "in" / "series").mkdir(parents=True)
    write_image(tmp_path / "in", "a.nii.gz")
    write_image(tmp_path / "other", "b.nii.gz")
    (tmp_path / "in" / "all").symlink_to(tmp_path)
    (tmp_path / "in" / "series" / "disk").symlink_to("/")
    done = segment(tmp_path)
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["a_seg.nii.gz"]


def test_an_image_in_another_folder_of_ours_is_not_passed_over(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    with whole_folder(tmp_path / "in" / "site-1", holds="phantoms") as part:
        write_image(part, "b.nii.gz")
    assert refusal(tmp_path).problem == "INPUT holds NIfTI files in 1 folder below it, which would not be segmented"


def test_hidden_and_closed_folders_stop_nothing(tmp_path: Path) -> None:
    """A waste basket on a disk, and what fsck keeps there, which only root may look into."""
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    (tmp_path / "in" / ".Trash-1000" / "files").mkdir(parents=True)
    write_image(tmp_path / "in" / ".Trash-1000" / "files", "old.nii.gz")
    (tmp_path / "in" / "lost+found").mkdir(mode=0o000)
    with bound_by_modes():
        assert segment(tmp_path).exit_code == 0
    (tmp_path / "in" / "lost+found").chmod(0o700)
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["a_seg.nii.gz"]


def test_a_nifti_file_in_a_folder_of_a_study_is_not_passed_over(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_series(tmp_path / "in", SeriesSpec())
    write_image(tmp_path / "in" / "more", "a.nii.gz")
    assert refusal(tmp_path).problem == "INPUT holds NIfTI and DICOM files"


def test_an_input_that_cannot_be_read_is_not_told_as_a_full_disk(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    name = "Zwiebelkuchen" * 20  # longer than the kernel takes, who may not refuse root anything else
    arguments = ["predict", str(tmp_path / "bundle"), str(tmp_path / name), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert type(done.exception) is DataError
    assert done.exception.problem == "INPUT cannot be read: File name too long"
    assert not (tmp_path / "out").exists()


def test_a_table_that_nobody_reads_is_not_told_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: Progress) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Progress, "stop", stop)
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    done = segment(tmp_path)
    assert isinstance(done.exception, SystemExit), "as of every command, and no fault of ours"
    assert not (tmp_path / "out").exists()


def test_an_unforeseen_error_stops_no_other_image_and_is_told_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / "in", name)
    segmenter = open_segmenter(tmp_path / "bundle")
    segment, faults = segmenter.segment, [KeyError("Zwiebelkuchen^Hannelore")]

    def segment_the_second(_: Segmenter, volume: Volume, modality: Modality) -> Prediction:
        if faults:
            raise faults.pop()
        return segment(volume, modality)

    monkeypatch.setattr(Segmenter, "segment", segment_the_second)
    (tmp_path / "out").mkdir()
    first, second = predict(segmenter, tmp_path / "in", tmp_path / "out", lambda *_: None)
    assert "unforeseen KeyError at test_predict.py" in first.problem
    assert "Zwiebelkuchen" not in (tmp_path / "out" / "result.json").read_text()
    assert (second.problem, second.files) == ("", ["b_seg.nii.gz"])


def test_monai_s_own_runner_gives_the_same_labels(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    write_image(tmp_path / "in", "a.nii.gz")
    assert segment(tmp_path, out="ours").exit_code == 0
    bundle = tmp_path / "bundle"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "inference.json")]
    places = {"bundle_root": bundle, "dataset_dir": tmp_path / "in", "output_dir": tmp_path / "theirs"}
    options = [text for key, path in places.items() for text in (f"--{key}", str(path))]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = (labels_in(tmp_path / folder / "a_seg.nii.gz") for folder in ("ours", "theirs"))
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(ours)) > 1


def test_a_series_that_cannot_be_taken_apart_and_a_damaged_file_stop_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_series(tmp_path / "study" / name, SeriesSpec(count=12, uid=f"1.2.{'abc'.index(name)}"))
    for path in (tmp_path / "study" / "c").iterdir():
        path.write_bytes(path.read_bytes()[:200])

    def take_apart_or_fail(series: Series, rules: IngestRules) -> list[Series]:
        if series.key == "1.2.0":
            raise ValueError("Zwiebelkuchen")
        return take_apart(series, rules)

    monkeypatch.setattr("fedgin.deploy.study.take_apart", take_apart_or_fail)
    bad, good, *damaged = read_study(tmp_path / "study", lambda *_: None)
    assert isinstance(good, StudyImage)
    assert [item.reason for item in (bad, *damaged) if isinstance(item, Refused)] == [
        Reason.NOT_READABLE,
        Reason.DAMAGED_FILE,
    ]


@pytest.mark.parametrize("name", SERIES)
def test_two_other_readers_find_the_prediction_voxel_by_voxel(tmp_path: Path, name: str) -> None:
    """SimpleITK reads the NIfTI, pydicom and numpy the SEG; noise as the image shows every turn and every shift."""
    bundle = make_bundle(tmp_path)
    write_series(tmp_path / "study", SeriesSpec(count=12, shape=(40, 30), **SERIES[name]))  # type: ignore[arg-type]
    (tmp_path / "out").mkdir()
    [result] = predict(open_segmenter(bundle.folder), tmp_path / "study", tmp_path / "out", lambda *_: None)
    assert result.problem == ""
    image = SimpleITK.ReadImage(tmp_path / "out" / "series-1_seg.nii.gz")
    labels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    segmentation = pydicom.dcmread(tmp_path / "out" / "series-1_seg.dcm")
    drawn = drawn_by_hand(segmentation, affine, labels.shape, list(bundle.label_ids))
    np.testing.assert_array_equal(drawn, labels)
    counts = np.bincount(labels.ravel(), minlength=3)
    assert counts[1:].min() > 10
    assert result.volumes_ml == pytest.approx(
        {organ: counts[label] * np.prod(image.GetSpacing()) / 1000 for organ, label in bundle.label_ids.items()}
    )


@pytest.mark.parametrize(("modalities", "used"), [(["CT"], "CT"), (["CT", "MR"], "MR")])
def test_an_image_of_an_untrained_modality_goes_through_the_trained_layers(
    tmp_path: Path, modalities: list[str], used: str
) -> None:
    network = {"name": "dynunet", "normalisation": "dsbn", "params": {"channels": [4, 8, 16]}}
    participants = [Participant(site=name, modality=Modality(name), rounds=1) for name in modalities]
    make_bundle(tmp_path, experiment=tiny_experiment(network=network), participants=participants)
    segmenter = open_segmenter(tmp_path / "bundle")
    image = Volume(make_volume("MR", 0)[0], AFFINE)
    found = {}
    for silenced in ("none", "CT", "MR"):
        own = Segmenter(segmenter.bundle, segmenter.bundle.network(), segmenter.device)
        for name, parameter in own.network.named_parameters():
            if f".branches.{silenced}." in name:
                parameter.data.zero_()
        found[silenced] = own.segment(image, Modality.MR).labels
    changed = {name for name in ("CT", "MR") if (found[name] != found["none"]).any()}
    assert changed == {used}


def test_volumes_are_those_of_the_voxels() -> None:
    labels = np.array([[[0, 1, 1, 2]]], dtype=np.uint8)
    assert measure(labels, ["liver", "spleen", "pancreas"], 0.5) == {"liver": 1.0, "spleen": 0.5, "pancreas": 0.0}


def write_raw(path: Path, offset: int, *numbers: float) -> None:
    """Write an image with a sform alone, and float32 numbers into its header."""
    image = nibabel.Nifti1Image(make_volume("CT", 0)[0], AFFINE)
    image.set_qform(AFFINE, code=0)
    content = bytearray(image.to_bytes())
    content[offset : offset + 4 * len(numbers)] = struct.pack(f"<{len(numbers)}f", *numbers)
    path.write_bytes(content)


def contradict(path: Path) -> None:
    image = nibabel.Nifti1Image(make_volume("CT", 0)[0], AFFINE)
    mirrored = AFFINE.copy()
    mirrored[0] *= -1
    image.set_qform(mirrored, code=1)
    image.set_sform(AFFINE, code=1)
    nibabel.save(image, path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (contradict, "has a header that contradicts itself: its sform says that the axes lead to"),
        (lambda path: write_raw(path, 80, 8.0, 8.0, 9.0), "its pixdim says 8 x 8 x 9 mm"),
        (lambda path: write_raw(path, 312, 0.0, 0.0, 0.0, 0.0), "has no valid geometry in its header"),
        (lambda path: write_raw(path, 280, *[float("nan")] * 4), "has no valid geometry in its header"),
        (
            lambda path: nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.complex64), AFFINE), path),
            "holds colours or complex numbers",
        ),
    ],
    ids=["mirrored qform", "another pixdim", "flat", "NaN", "complex"],
)
def test_a_header_that_validation_refuses_is_refused(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "a.nii")
    with pytest.raises(DataError, match=said):
        read_nifti(tmp_path / "a.nii")


def test_a_header_that_says_nothing_of_the_place_is_a_warning(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(make_volume("CT", 0)[0], None)
    image.header.set_zooms((8.0, 8.0, 5.0))
    nibabel.save(image, tmp_path / "a.nii")
    found = open_segmenter(make_bundle(tmp_path).folder).segment(read_nifti(tmp_path / "a.nii"), Modality.CT)
    assert "its header sets neither sform nor qform: its sides and its position are a guess" in found.warnings
