"""DICOM series that tests write: small, correct unless a test breaks them, with identifiers planted in every header."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from fedgin.data.dicom.ingest import IngestReport, ingest
from fedgin.data.dicom.reasons import Reason
from fedgin.data.dicom.rules import IngestRules

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
# Every identifier that may turn up in a header; no output may hold any of them.
PLANTED = {
    "PatientName": "Zwiebelkuchen^Hannelore",
    "PatientBirthDate": "19371113",
    "AccessionNumber": "ACC7391846",
    "InstitutionName": "Klinikum Nirgendheim",
    "ReferringPhysicianName": "Quacksalber^Ottokar",
    "StudyDescription": "Verlauf Zwiebelkuchen",
    "PatientComments": "wohnt in Entenhausen",
    "StudyID": "STUDY55512",
}
Change = Callable[[int, pydicom.Dataset], None]


@dataclass
class SeriesSpec:
    """What to write; ``change`` gets slice number and dataset last and may break anything."""

    count: int = 6
    shape: tuple[int, int] = (7, 5)
    orientation: Sequence[float] = AXIAL
    origin: Sequence[float] = (-31.25, 17.5, -204.75)
    spacing: tuple[float, float] = (0.9, 0.7)
    step: float = 2.5
    modality: str = "CT"
    dtype: str = "uint16"
    slope: float = 1.0
    intercept: float = -1024.0
    syntax: UID = ExplicitVRLittleEndian
    patient: str = "PAT0042-SECRET"
    description: str = "Abdomen Zwiebelkuchen"
    seed: int = 0
    uid: str = field(default_factory=generate_uid)
    study: str = field(default_factory=generate_uid)
    frame: str = field(default_factory=generate_uid)
    change: Change | None = None


def make_slices(spec: SeriesSpec) -> list[pydicom.Dataset]:
    """Return the datasets of a series, pixels random in the range of the type."""
    rng = np.random.default_rng(spec.seed)
    limits = np.iinfo(spec.dtype)
    pixels = rng.integers(max(limits.min, -2000), min(limits.max, 4000), (spec.count, *spec.shape), dtype=spec.dtype)
    normal = np.cross(spec.orientation[:3], spec.orientation[3:])
    slices = []
    for number in range(spec.count):
        dataset = _header(spec, number)
        dataset.ImagePositionPatient = [f"{v:.9f}" for v in np.array(spec.origin) + spec.step * number * normal]
        write_pixels(dataset, pixels[number])
        if spec.change is not None:
            spec.change(number, dataset)
        slices.append(dataset)
    return slices


def write_pixels(dataset: pydicom.Dataset, pixels: NDArray[np.generic]) -> None:
    """Store pixels in the byte order of the dataset."""
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"


def write_slices(folder: Path, slices: Sequence[pydicom.Dataset], name: str = "IM{:04d}") -> list[Path]:
    """Write datasets without extension; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(number) for number in range(len(slices))]
    for path, dataset in zip(paths, slices, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def write_series(folder: Path, spec: SeriesSpec | None = None, name: str = "IM{:04d}") -> list[pydicom.Dataset]:
    """Write a series and return its datasets."""
    slices = make_slices(spec or SeriesSpec())
    write_slices(folder, slices, name)
    return slices


def make_rules(**changes: object) -> IngestRules:
    """Return rules that take every CT series of three slices and more, without labels."""
    values: dict[str, object] = {
        "site": "hospital-a",
        "modality": "CT",
        "minimum_slices": 3,
        "labels": {"source": "none"},
    }
    return IngestRules.model_validate(values | changes)


def run(folder: Path, rules: IngestRules | None = None) -> IngestReport:
    """Ingest ``folder/dicom`` to ``folder/out`` with the key in ``folder/private``."""
    (folder / "dicom").mkdir(exist_ok=True)
    return ingest(folder / "dicom", folder / "out", rules or make_rules(), folder / "private", lambda *_: None)


def reasons(report: IngestReport) -> list[Reason]:
    """Return why series were left out."""
    return [item.reason for item in report.left_out]


def the_image(folder: Path) -> nibabel.Nifti1Image:
    """Return the only image of a dataset."""
    (path,) = (folder / "out" / "images").iterdir()
    return nibabel.load(path)


def world_error(image: nibabel.Nifti1Image, slices: Sequence[pydicom.Dataset]) -> float:
    """Hold the volume against the slices by the equation of the DICOM standard (PS3.3, C.7.6.2.1.1).

    Every voxel is looked up at the place where the standard puts its pixel.

    Returns:
        Largest distance in mm between such a place and the nearest voxel centre; infinite when a value differs.
    """
    voxels, inverse = np.asarray(image.dataobj), np.linalg.inv(image.affine)
    worst = 0.0
    assert voxels.size == sum(dataset.Rows * dataset.Columns for dataset in slices)
    for dataset in slices:
        values = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
        row, column = np.indices(values.shape).reshape(2, -1)
        along_row, along_column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
        between_rows, between_columns = (float(value) for value in dataset.PixelSpacing)
        lps = np.array(dataset.ImagePositionPatient, dtype=float)[:, None]
        lps = lps + np.outer(along_row, column * between_columns) + np.outer(along_column, row * between_rows)
        exact = inverse[:3, :3] @ (lps * [[-1.0], [-1.0], [1.0]]) + inverse[:3, 3:]
        nearest = np.rint(exact).astype(int)
        worst = max(worst, float(np.linalg.norm(image.affine[:3, :3] @ (exact - nearest), axis=0).max()))
        if not np.allclose(voxels[tuple(nearest)], values.ravel(), rtol=1e-5, atol=1e-4):
            return float("inf")
    return worst


def write_seg(
    path: Path,
    slices: Sequence[pydicom.Dataset],
    masks: Mapping[str, NDArray[np.bool_]],
    kind: SegmentationTypeValues = SegmentationTypeValues.BINARY,
) -> pydicom.Dataset:
    """Write a DICOM SEG with one segment a mask [slices, rows, columns]; return its dataset."""
    fractional = kind is SegmentationTypeValues.FRACTIONAL
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
            algorithm_identification=None,
        )
        for number, name in enumerate(masks, start=1)
    ]
    pixels = np.stack(list(masks.values()), axis=-1)
    segmentation = Segmentation(
        source_images=list(slices),
        pixel_array=pixels * np.float32(0.5) if fractional else pixels.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
        series_description="Segmentation Zwiebelkuchen",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
    return segmentation


def _header(spec: SeriesSpec, number: int) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = spec.syntax
    dataset.SOPClassUID = MRImageStorage if spec.modality == "MR" else CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    for keyword, value in PLANTED.items():
        setattr(dataset, keyword, value)
    dataset.PatientID, dataset.PatientSex = spec.patient, "O"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = spec.study, spec.uid
    dataset.FrameOfReferenceUID, dataset.SeriesDescription = spec.frame, spec.description
    dataset.StudyDate, dataset.StudyTime, dataset.SeriesNumber = "20240102", "101112", 3
    dataset.Modality, dataset.ImageType = spec.modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber, dataset.SliceThickness = number + 1, abs(spec.step)
    dataset.ImageOrientationPatient = [f"{value:.12f}" for value in spec.orientation]
    dataset.PixelSpacing = list(spec.spacing)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if spec.modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept = spec.slope, spec.intercept
    return dataset
