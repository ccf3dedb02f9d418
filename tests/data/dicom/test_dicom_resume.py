import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fedgin.data.dicom.convert import read_voxels
from fedgin.data.dicom.ingest import ingest
from fedgin.data.dicom.nifti import write_volume
from fedgin.data.dicom.reasons import Reason
from fedgin.errors import ConfigError, DataError
from tests.data.dicom.enhanced import group, write_enhanced
from tests.data.dicom.series import (
    SeriesSpec,
    make_rules,
    make_slices,
    reasons,
    run,
    the_image,
    world_error,
    write_seg,
    write_series,
)
from tests.data.dicom.test_dicom_labels import BOTH, MAP, labelled, rules


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder / "out").glob("[il]*/*")}


@pytest.mark.parametrize("compress", [False, True])
def test_a_second_run_writes_nothing_again(tmp_path: Path, compress: bool) -> None:
    labelled(tmp_path)
    wanted = rules().model_copy(update={"compress": compress})
    run(tmp_path, wanted)
    before, text = times(tmp_path), (tmp_path / "out" / "datalist.json").read_text()
    report = run(tmp_path, wanted)
    assert (report.converted, report.kept, report.labelled) == (0, 1, 1)
    assert times(tmp_path) == before
    assert (tmp_path / "out" / "datalist.json").read_text() == text


def test_a_run_killed_while_writing_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "dicom" / "a", SeriesSpec(seed=1))
    write_series(tmp_path / "dicom" / "b", SeriesSpec(seed=2))
    written: list[Path] = []

    def die_on_second(path: Path, *rest: object) -> None:
        if written:
            path.with_name(f".part-7-{path.name}").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path)
        write_volume(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(f"{ingest.__module__}.write_volume", die_on_second)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    report = run(tmp_path)
    assert (report.converted, report.kept) == (1, 1)
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


@pytest.mark.parametrize("harm", ["cut", "removed", "record damaged"])
def test_a_harmed_product_is_written_again(tmp_path: Path, harm: str) -> None:
    slices = write_series(tmp_path / "dicom")
    run(tmp_path)
    (image,) = (tmp_path / "out" / "images").iterdir()
    (record,) = (tmp_path / "out" / ".ingest").iterdir()
    if harm == "cut":
        image.write_bytes(image.read_bytes()[:400])
    elif harm == "removed":
        image.unlink()
    else:
        record.write_text("{")
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_changed_files_are_converted_again(tmp_path: Path) -> None:
    spec = SeriesSpec()
    write_series(tmp_path / "dicom", spec)
    run(tmp_path)
    spec.seed = 9
    slices = write_series(tmp_path / "dicom", spec)
    for path in (tmp_path / "dicom").iterdir():
        os.utime(path, ns=(1, 2))
    assert run(tmp_path).converted == 1
    assert world_error(the_image(tmp_path), slices) < 1e-3


def test_a_new_label_map_writes_the_labels_again_and_not_the_image(tmp_path: Path) -> None:
    labelled(tmp_path)
    run(tmp_path, rules())
    (tmp_path / "out" / "site.yaml").unlink()
    before = times(tmp_path)
    swapped = make_rules(labels={"map": {"Left Kidney": "left_kidney", "Liver": "liver"}})
    run(tmp_path, swapped)
    changed = [Path(path).parent.name for path, stamp in times(tmp_path).items() if before[path] != stamp]
    assert changed == ["labels"]


def test_another_part_of_an_enhanced_image_replaces_the_one_before(tmp_path: Path) -> None:
    first, second = make_slices(SeriesSpec(seed=1)), make_slices(SeriesSpec(seed=2))
    write_enhanced(
        tmp_path / "dicom" / "enhanced",
        [*first, *second],
        lambda number, frame: setattr(frame, "FrameContentSequence", [group(StackID=str(number // len(first) + 1))]),
    )
    write_seg(tmp_path / "dicom" / "seg", first, BOTH)
    for part, slices in ((1, first), (2, second)):
        report = run(tmp_path, make_rules(parts={"stack": part}, labels={"map": MAP}))
        assert (report.converted, report.kept) == (1, 0)
        assert world_error(the_image(tmp_path), slices) < 1e-3
    before = times(tmp_path)
    assert run(tmp_path, make_rules(parts={"stack": 2}, labels={"map": MAP})).kept == 1
    assert times(tmp_path) == before


def test_rules_that_contradict_an_existing_site_yaml_are_refused(tmp_path: Path) -> None:
    labelled(tmp_path)
    run(tmp_path, rules())
    with pytest.raises(ConfigError, match="label ids of the rules"):
        run(tmp_path, make_rules(labels={"map": {"Left Kidney": "left_kidney", "Liver": "liver"}}))
    (tmp_path / "out" / "site.yaml").write_text("{")
    with pytest.raises(ConfigError, match=r"delete site\.yaml"):
        run(tmp_path, rules())


def test_an_engineers_site_yaml_is_kept(tmp_path: Path) -> None:
    labelled(tmp_path)
    run(tmp_path, rules())
    path = tmp_path / "out" / "site.yaml"
    path.write_text(path.read_text() + "device: cpu\n")
    run(tmp_path, rules())
    assert path.read_text().endswith("device: cpu\n")


@pytest.mark.parametrize(
    ("source", "out", "private", "message"),
    [
        ("a", "a/out", "p", "OUT lies in DICOM_DIR"),
        ("a/in", "a", "p", "DICOM_DIR lies in OUT"),
        ("a", "b", "b/key", "the private folder lies in OUT"),
        ("a", "b", "a", "in"),
    ],
)
def test_folders_inside_each_other_are_refused(
    tmp_path: Path, source: str, out: str, private: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ingest(tmp_path / source, tmp_path / out, make_rules(), tmp_path / private, lambda *_: None)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_stops_the_run_with_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/secret/path")

    write_series(tmp_path / "dicom")
    monkeypatch.setattr(f"{ingest.__module__}.write_volume", full)
    with pytest.raises(DataError, match=r"No space left on device\. Fix: free disk") as caught:
        run(tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("place", ["out", "private"])
@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, place: str, kind: str) -> None:
    write_series(tmp_path / "dicom")
    (tmp_path / "file").write_text("x")
    folders = {"out": tmp_path / "out", "private": tmp_path / "private"}
    folders[place] = tmp_path / "file" if kind == "file" else tmp_path / "file" / "below"
    with pytest.raises(DataError, match=rf"(OUT|the {place} folder) cannot be written: .*Fix: ") as caught:
        ingest(tmp_path / "dicom", folders["out"], make_rules(), folders["private"], lambda *_: None)
    assert str(tmp_path) not in str(caught.value)


def test_an_unforeseen_error_is_one_left_out_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "dicom" / "a", SeriesSpec(seed=1))
    write_series(tmp_path / "dicom" / "b", SeriesSpec(seed=2))
    calls: list[object] = []

    def fail_once(*args: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("a text with Zwiebelkuchen")
        return read_voxels(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(f"{ingest.__module__}.read_voxels", fail_once)
    report = run(tmp_path)
    assert (report.converted, reasons(report)) == (1, [Reason.NOT_READABLE])


def recorder(calls: list[tuple[str, int, int]]) -> Callable[[str, int, int], None]:
    return lambda stage, done, total: calls.append((stage, done, total))


def test_progress_counts_every_slice_up_to_the_total(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", SeriesSpec(count=4))
    bad = write_series(tmp_path / "dicom" / "bad", SeriesSpec(count=4, seed=2))
    del bad[2].PixelData
    bad[2].save_as(tmp_path / "dicom" / "bad" / "IM0002", enforce_file_format=True)
    for _ in range(2):
        calls: list[tuple[str, int, int]] = []
        ingest(tmp_path / "dicom", tmp_path / "out", make_rules(), tmp_path / "private", recorder(calls))
        converting = [(done, total) for stage, done, total in calls if stage == "converting slices"]
        assert converting[-1] == (8, 8)
        assert [done for done, _ in converting] == sorted({done for done, _ in converting})
