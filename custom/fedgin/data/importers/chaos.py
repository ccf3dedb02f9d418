"""CHAOS: DICOM slices with PNG references, CT with the liver, MR in three sequences with four organs."""

from collections.abc import Mapping
from pathlib import Path

from fedgin.data.importers.archive import Archive, ArchiveCase, is_there, refuse_faults
from fedgin.data.importers.label_ids import CHAOS_CT_GREYS, CHAOS_IDS, CHAOS_MR_GREYS
from fedgin.data.importers.png_reference import DicomVolume, PngReference, by_number
from fedgin.data.site import Modality
from fedgin.errors import DataError

TRAINING, TESTING = "Train_Sets", "Test_Sets"
# In-phase and out-of-phase images were taken together, so one reference holds for both.
SEQUENCES = {
    "t1in": ("T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "t1out": ("T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
    "t2": ("T2SPIR/DICOM_anon", "T2SPIR/Ground"),
}
PLACES = {Modality.CT: {"ct": ("DICOM_anon", "Ground")}, Modality.MR: SEQUENCES}
GREYS = {Modality.CT: CHAOS_CT_GREYS, Modality.MR: CHAOS_MR_GREYS}
# The patients whose references were published.
PUBLISHED = {
    Modality.CT: (1, 2, 5, 6, 8, 10, 14, 16, 18, 19, *range(21, 31)),
    Modality.MR: (1, 2, 3, 5, 8, 10, 13, 15, *range(19, 23), *range(31, 35), *range(36, 40)),
}
MEND = "unpack or download these again; or take their patients' folders out"


def read_chaos(source: Path) -> Archive:
    """Return what the archive holds: of an MR patient three cases, one a sequence. References of the test are secret.

    Raises:
        DataError: no such archive, or a list of all that is missing.
    """
    patients = _patients(source / TRAINING if (source / TRAINING).is_dir() else source)
    if not patients:
        raise DataError(
            f"SOURCE has no {TRAINING}/CT or {TRAINING}/MR with numbered folders",
            f"give the folder that {TRAINING}.zip was unpacked to",
        )
    faults, cases = dict[str, list[str]](), list[ArchiveCase]()
    for (modality, number), folder in sorted(patients.items()):
        patient = f"{modality.lower()}_{number:02}"
        for sequence, (slices, pictures) in PLACES[modality].items():
            name = patient if modality is Modality.CT else f"{patient}_{sequence}"
            faults[name] = _faults(folder, slices, pictures)
            image = DicomVolume(_files(folder / slices, "dcm"), modality)
            label = PngReference(image, _files(folder / pictures, "png"), GREYS[modality])
            cases.append(ArchiveCase(name, patient, modality, image, label, None))
    refuse_faults("lacks files of", faults, MEND)
    tested = _patients(source / TESTING)
    unlabelled = sum(len(PLACES[modality]) for modality, _ in tested)
    return Archive("chaos", cases, CHAOS_IDS, unlabelled, _absent(patients))


def _patients(folder: Path) -> dict[tuple[Modality, int], Path]:
    return {
        (modality, int(path.name)): path
        for modality in Modality
        for path in (folder / modality.value).glob("*")
        if path.name.isdigit() and path.is_dir()
    }


def _files(folder: Path, ending: str) -> list[Path]:
    return by_number([path for path in folder.glob(f"*.{ending}") if not path.name.startswith(".")])


def _faults(folder: Path, slices: str, pictures: str) -> list[str]:
    images, references = _files(folder / slices, "dcm"), _files(folder / pictures, "png")
    if not images or not references:
        return [place for place, files in ((slices, images), (pictures, references)) if not files]
    if len(images) != len(references):
        return [f"{pictures} has {len(references)} pictures for {len(images)} slices"]
    return [str(path.relative_to(folder)) for path in images + references if not is_there(path)]


def _absent(patients: Mapping[tuple[Modality, int], Path]) -> list[str]:
    """Return the published patients that are not there, of the modalities that are."""
    return [
        f"{modality}/{number}"
        for modality in sorted({modality for modality, _ in patients})
        for number in PUBLISHED[modality]
        if (modality, number) not in patients
    ]
