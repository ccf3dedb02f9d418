"""Write one phantom patient as a DICOM study, a CT and an MR series, as a scanner exports it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

import fedgin
from fedgin.data.site import Modality
from fedgin.files import whole_file
from fedgin.folders import claimed_folder
from fedgin.phantoms.anatomy import rasterise
from fedgin.phantoms.grid import FloatArray, Grid, trunk_grid
from fedgin.phantoms.mr import MrScan, draw_mr_scan
from fedgin.phantoms.region import REGIONS
from fedgin.phantoms.site import DEMO_SEQUENCE
from fedgin.phantoms.subject import IN_PLANE_MM, SLICE_MM, scan_ct, scan_mr, subject_rng
from fedgin.phantoms.task import Task

# No site has this name, so that no site has this patient.
NAME = "new-patient"
RESCALE_INTERCEPT = -1024
DAY, TIME = "20260101", "120000"
BODY_PART = {Task.ABDOMEN: "ABDOMEN", Task.HEART: "HEART"}
# DICOM PS3.3, C.8.3.1: spin echo; the steady state is a gradient echo.
SPIN_ECHO, GRADIENT_ECHO = ("SE", "SK"), ("GR", "SS")


def write_study(
    folder: Path,
    task: Task,
    seed: int,
    *,
    in_plane_mm: float = IN_PLANE_MM,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write ``CT/IM0001.dcm`` and so on, and the same body as ``MR/``; the same seed writes the same files.

    Args:
        folder: of the study, made when missing.
        task: which region of the body.
        seed: the seed of the patient.
        in_plane_mm: the size of a pixel.
        progress: called with (series done, series in total).

    Raises:
        FolderError: the folder holds something else.
    """
    claimed_folder(folder, f"phantom study {task} {seed}")
    anatomy = REGIONS[task].draw(subject_rng(seed, NAME, Modality.CT, 1, "anatomy"))
    for done, modality in enumerate(Modality):
        progress(done, len(Modality))
        rng = subject_rng(seed, NAME, modality, 1, "scan")
        grid = trunk_grid(in_plane_mm, float(rng.choice(SLICE_MM[modality])))
        tissues = rasterise(anatomy, grid)
        common = _describe_series(task, seed, modality)
        if modality is Modality.CT:
            stored = scan_ct(REGIONS[task], tissues, grid, rng) - RESCALE_INTERCEPT
            _add_ct(common)
        else:
            scan = draw_mr_scan(rng, DEMO_SEQUENCE[task])
            stored = scan_mr(REGIONS[task], tissues, grid, scan, rng)
            _add_mr(common, scan)
        _write_series(folder / modality.value, common, stored, grid)
    progress(len(Modality), len(Modality))


def derive_uid(*names: object) -> UID:
    """Return the UID under ``2.25`` that names determine (DICOM PS3.5, B.2)."""
    digest = hashlib.sha256("\0".join(["fedgin phantom", *map(str, names)]).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def _describe_series(task: Task, seed: int, modality: Modality) -> Dataset:
    """Return what all images of a series share, in the order of the modules of the standard."""
    common = Dataset()
    common.PatientName, common.PatientID = f"Phantom^{task.capitalize()}", f"PHANTOM-{seed}"
    common.PatientBirthDate, common.PatientSex = "", "O"
    common.StudyInstanceUID = derive_uid(task, seed, "study")
    common.StudyDate, common.StudyTime, common.StudyID = DAY, TIME, "1"
    common.AccessionNumber = common.ReferringPhysicianName = ""
    common.StudyDescription = "Procedural phantom, not a patient"
    common.Modality, common.SeriesNumber = modality.value, 1 + list(Modality).index(modality)
    common.SeriesInstanceUID = derive_uid(task, seed, modality, "series")
    common.SeriesDescription = f"FedGIN phantom {task} {modality}"
    common.PatientPosition, common.BodyPartExamined = "HFS", BODY_PART[task]
    common.FrameOfReferenceUID, common.PositionReferenceIndicator = derive_uid(task, seed, modality, "frame"), ""
    common.Manufacturer, common.ManufacturerModelName = "FedGIN", "fedgin phantoms"
    common.SoftwareVersions, common.DeviceSerialNumber = fedgin.__version__, "0"
    common.SamplesPerPixel, common.PhotometricInterpretation = 1, "MONOCHROME2"
    common.BitsAllocated, common.BitsStored, common.HighBit, common.PixelRepresentation = 16, 16, 15, 0
    common.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.AcquisitionNumber, common.BurnedInAnnotation = 1, "NO"
    return common


def _add_ct(common: Dataset) -> None:
    common.SOPClassUID, common.ImageType = CTImageStorage, ["ORIGINAL", "PRIMARY", "AXIAL"]
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = RESCALE_INTERCEPT, 1, "HU"
    common.KVP = 120


def _add_mr(common: Dataset, scan: MrScan) -> None:
    common.SOPClassUID, common.ImageType = MRImageStorage, ["ORIGINAL", "PRIMARY", "OTHER"]
    sequence, variant = GRADIENT_ECHO if scan.sequence in ("t1w", "bssfp") else SPIN_ECHO
    common.ScanningSequence, common.SequenceVariant = sequence, variant
    common.ScanOptions, common.MRAcquisitionType = "FS" if scan.fat_left < 1.0 else "", "2D"
    common.RepetitionTime, common.EchoTime, common.FlipAngle = f"{scan.tr:.3f}", f"{scan.te:.3f}", f"{scan.flip:.1f}"
    common.EchoTrainLength, common.MagneticFieldStrength = 1, 1.5


def _write_series(folder: Path, common: Dataset, values: FloatArray, grid: Grid) -> None:
    """Write a file for each axial slice: its columns lead to the patient's left, its rows to the back."""
    stored = np.clip(np.rint(values), 0, 65535).astype(np.uint16)[::-1, ::-1]
    # The first pixel is the last voxel along x and y, and DICOM's x and y point the other way.
    right, front = (start + step * (count - 1) for start, step, count in list(_axes(grid))[:2])
    for index in range(grid.shape[2]):
        image = Dataset()
        image.update(common)
        image.SOPInstanceUID = derive_uid(common.SeriesInstanceUID, index)
        image.InstanceNumber = index + 1
        image.ImagePositionPatient = [-right, -front, grid.origin[2] + index * grid.spacing[2]]
        image.PixelSpacing, image.SliceThickness = [grid.spacing[1], grid.spacing[0]], grid.spacing[2]
        _save(folder / f"IM{index + 1:04d}.dcm", image, stored[:, :, index].T)


def _axes(grid: Grid) -> "zip[tuple[float, float, int]]":
    return zip(grid.origin, grid.spacing, grid.shape, strict=True)


def _save(path: Path, image: Dataset, pixels: NDArray[np.uint16]) -> None:
    image.Rows, image.Columns = pixels.shape
    image.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    with whole_file(path) as part:
        image.save_as(part, enforce_file_format=True)
