import gzip
import logging
import stat
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import RTStructureSetStorage
from typer.testing import CliRunner

from fedgin.cli.site import site_app
from fedgin.data.dicom.header import quiet_reading
from fedgin.data.dicom.ingest import ingest
from fedgin.data.dicom.private_table import private_table
from tests.data.dicom.series import PLANTED, SeriesSpec, make_rules, make_slices, write_seg, write_series, write_slices
from tests.data.dicom.test_dicom_labels import BOTH, labelled

RULES = """
site: hospital-a
modality: CT
minimum_slices: 3
labels: {map: {Liver: liver, Left Kidney: left_kidney}}
"""


def name_in_modality(_: int, dataset: pydicom.Dataset) -> None:
    dataset.Modality = "ZWIEBEL"


def invalid_values(_: int, dataset: pydicom.Dataset) -> None:
    """Values that pydicom would quote in warnings."""
    dataset.add(pydicom.DataElement("PatientBirthDate", "DA", "Zwiebelkuchen 1937", validation_mode=0))
    dataset.add(pydicom.DataElement("StudyInstanceUID", "UI", "PAT0042-SECRET", validation_mode=0))


def structures(_: int, dataset: pydicom.Dataset) -> None:
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"


def plant(root: Path) -> list[str]:
    """Write a tree with good and bad series; return every text that must not leave it, in lower case."""
    folder = root / "Zwiebelkuchen_Hannelore"
    good = labelled_tree(folder)
    changes = [name_in_modality, invalid_values, structures]
    bad = [write_series(folder / str(n), SeriesSpec(change=change, seed=n)) for n, change in enumerate(changes)]
    write_series(folder / "few", SeriesSpec(count=2))
    cut = write_slices(folder / "cut", make_slices(SeriesSpec()))[1]
    cut.write_bytes(cut.read_bytes()[:-9])
    (folder / "Hannelore.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50 + b"Zwiebelkuchen")
    texts = {str(value) for value in PLANTED.values()} | {"Zwiebelkuchen", "Hannelore", "PAT0042", "Entenhausen"}
    for dataset in [*good, *(item for series in bad for item in series)]:
        texts |= {dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID}
        texts |= {dataset.FrameOfReferenceUID}
    return [text.lower() for text in texts]


def labelled_tree(folder: Path) -> list[pydicom.Dataset]:
    everything: list[pydicom.Dataset] = []
    for number in range(3):
        slices = write_series(folder / f"good{number}", SeriesSpec(patient=f"PAT0042-{number}", seed=number))
        everything += [*slices, write_seg(folder / f"good{number}" / "seg", slices, BOTH)]
    return everything


def contents(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) + data if path.suffix == ".gz" else data).decode("latin-1").lower()


def test_no_identifier_leaves_the_site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    planted = plant(tmp_path / "in")
    (tmp_path / "ingest.yaml").write_text(RULES)
    command = ["ingest", str(tmp_path / "in"), str(tmp_path / "out"), "--rules", str(tmp_path / "ingest.yaml")]
    result = CliRunner().invoke(site_app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "cases with labels" in result.output
    outputs = {str(path.relative_to(tmp_path)): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(outputs) >= 3 * 4 + 4
    haystack = {name: contents(path) + name.lower() for name, path in outputs.items()}
    haystack |= {"printed": result.output.lower(), "logged": caplog.text.lower()}
    found = [(name, text) for name, hay in haystack.items() for text in planted if text in hay]
    assert found == []


def test_the_private_table_leads_back_and_is_for_the_owner_only(tmp_path: Path) -> None:
    slices = labelled(tmp_path)
    (tmp_path / "ingest.yaml").write_text(RULES)
    command = ["ingest", str(tmp_path / "dicom"), str(tmp_path / "out"), "--rules", str(tmp_path / "ingest.yaml")]
    CliRunner().invoke(site_app, command, catch_exceptions=False)
    table = private_table(tmp_path / "out.private", tmp_path / "out")
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    (image,) = (tmp_path / "out" / "images").iterdir()
    patient, series = image.name.removesuffix(".nii").split("_")
    row = next(line for line in table.read_text().splitlines() if slices[0].SeriesInstanceUID in line)
    assert row.startswith(f"{patient},{series},CT,6,id:pat0042-secret,")
    assert "Liver; Left Kidney" in table.read_text()


def test_nothing_convertible_is_exit_code_1(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", SeriesSpec(count=2))
    (tmp_path / "ingest.yaml").write_text(RULES)
    command = ["ingest", str(tmp_path / "dicom"), str(tmp_path / "out"), "--rules", str(tmp_path / "ingest.yaml")]
    result = CliRunner().invoke(site_app, command)
    assert result.exit_code == 1
    assert "fewer slices" in " ".join(result.output.split())


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(site_app, ["ingest", "--help"])
    assert "Example: fedgin site ingest" in result.output


@pytest.mark.parametrize("name", ["pydicom", "pydicom.pixels.decoders.base", "highdicom.base"])
def test_what_a_library_logs_while_headers_are_read_is_kept_back(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with quiet_reading():
        logging.getLogger(name).error("Zwiebelkuchen")
        warnings.warn("Zwiebelkuchen", stacklevel=1)
    assert caplog.text == ""
    logging.getLogger(name).error("nobody")
    assert "nobody" in caplog.text


def test_two_datasets_of_one_name_have_a_private_table_each(tmp_path: Path) -> None:
    for modality in ("CT", "MR"):
        write_series(tmp_path / modality / "in", SeriesSpec(modality=modality, patient=f"PAT-{modality}"))
        rules = make_rules(modality=modality)
        ingest(
            tmp_path / modality / "in", tmp_path / modality / "abdomen", rules, tmp_path / "private", lambda *_: None
        )
    tables = sorted((tmp_path / "private").glob("*.csv"))
    assert [table.name.startswith("PRIVATE-do-not-share-abdomen") for table in tables] == [True, True]
    assert sorted(text.split("id:")[1].split(",")[0] for text in (table.read_text() for table in tables)) == [
        "pat-ct",
        "pat-mr",
    ]
