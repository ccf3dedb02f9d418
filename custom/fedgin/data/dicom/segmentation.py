"""Write a segmentation as DICOM SEG and its volumes as a DICOM SR, with highdicom.

Both refer to the images that were segmented. Their UIDs are derived from the images and the model: a second run on the
same study with the same model writes the same objects, which an archive recognises as such.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import highdicom
import numpy as np
from highdicom import PlanePositionSequence
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from fedgin.data.dicom.stack import Stack
from fedgin.data.organs import ORGANS, PLAIN

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
# For an organ without a code: the label keeps its name.
ORGAN = ("91772007", "Organ")
SIDES = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}
QUALITATIVE = Code("C0034375", "UMLS", "Qualitative Evaluations")
MILLILITRE = Code("ml", "UCUM", "milliliter")
MANUFACTURER = "FedGIN"
DEVICE = "fedgin predict"
# Series numbers that no scanner gives.
SEGMENTATION_SERIES, REPORT_SERIES = 9001, 9002


@dataclass(frozen=True)
class Algorithm:
    """What made a segmentation.

    Attributes:
        name: the name of the bundle.
        version: the version of this package.
        sha256: of the model's weights.
        notes: go into the descriptions of SEG and SR: what it is not for, and each warning about this very result.
    """

    name: str
    version: str
    sha256: str
    notes: tuple[str, ...]


def make_segmentation(
    sources: Sequence[Dataset],
    stack: Stack,
    labels: NDArray[np.uint8],
    organs: Sequence[str],
    algorithm: Algorithm,
) -> highdicom.seg.Segmentation:
    """Return a DICOM SEG of the organs that were found, one segment an organ, numbered as in ``labels``.

    Args:
        sources: the sources of :func:`fedgin.data.dicom.sources.read_sources`.
        stack: the series.
        labels: uint8 [X, Y, Z] on ``stack.target``, organ positions plus 1.
        organs: the organs by position; an organ without a voxel gets no segment.
        algorithm: what segmented.

    Raises:
        ValueError: no organ was found.
    """
    found = [position for position, _ in enumerate(organs, start=1) if np.any(labels == position)]
    if not found:
        raise ValueError("no organ was found")
    planes = stack.planes(labels)
    masks = np.stack([planes == position for position in found], axis=-1).astype(np.uint8)
    return highdicom.seg.Segmentation(
        source_images=list(sources),
        pixel_array=masks,
        # The images' own positions, as they were rounded: on others a frame would lie on no image, and refer to none.
        plane_positions=[PlanePositionSequence("PATIENT", item.position) for item in stack.slices],
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(number, organs[position - 1], sources, algorithm)
            for number, position in enumerate(found, start=1)
        ],
        **_equipment(algorithm),
        series_instance_uid=derive_uid(sources, algorithm, "SEG series"),
        series_number=SEGMENTATION_SERIES,
        sop_instance_uid=derive_uid(sources, algorithm, "SEG"),
        instance_number=1,
        content_label="SEGMENTATION",
        content_description="; ".join(algorithm.notes)[:64],
        content_creator_name=f"{MANUFACTURER}^",
        series_description=f"{algorithm.name} (research only)"[:64],
        omit_empty_frames=True,
    )


def make_report(
    sources: Sequence[Dataset],
    segmentation: highdicom.seg.Segmentation,
    volumes_ml: Mapping[str, float],
    algorithm: Algorithm,
) -> Comprehensive3DSR:
    """Return a measurement report (TID 1500) with the volume of each segment in millilitres, and the notes as comments.

    Args:
        sources: the sources of :func:`fedgin.data.dicom.sources.read_sources`.
        segmentation: of :func:`make_segmentation`.
        volumes_ml: the volumes in millilitres, by organ.
        algorithm: what segmented.
    """
    device = DeviceObserverIdentifyingAttributes(
        uid=derive_uid([], algorithm, "device"), name=DEVICE, manufacturer_name=MANUFACTURER
    )
    context = ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )
    report = MeasurementReport(
        observation_context=context,
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[
            _measured(segmentation, segment, volumes_ml, sources, algorithm) for segment in segmentation.SegmentSequence
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.append(_comments(algorithm.notes))
    return Comprehensive3DSR(
        evidence=[*sources, segmentation],
        content=report[0],
        series_instance_uid=derive_uid(sources, algorithm, "SR series"),
        series_number=REPORT_SERIES,
        sop_instance_uid=derive_uid(sources, algorithm, "SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"{algorithm.name} volumes (research only)"[:64],
    )


def code_of(organ: str) -> Code:
    """Return an organ's SNOMED CT code; that of "organ" for one without.

    Example:
        >>> code_of("left_kidney").meaning, code_of("islet_graft").meaning
        ('Kidney', 'Organ')
    """
    value, meaning = ORGANS.get(organ, PLAIN).code or ORGAN
    return Code(value, "SCT", meaning)


def side_of(organ: str) -> Code | None:
    """Return the modifier of an organ that is one of a pair.

    Example:
        >>> side_of("left_kidney").meaning, side_of("liver")
        ('Left', None)
    """
    return SIDES.get(ORGANS.get(organ, PLAIN).side)


def derive_uid(sources: Sequence[Dataset], algorithm: Algorithm, purpose: str) -> UID:
    """Return the UID under ``2.25`` that images, model and purpose determine (DICOM PS3.5, B.2)."""
    digest = hashlib.sha256("\0".join([algorithm.sha256, purpose]).encode())
    for instance in sorted(str(source.SOPInstanceUID) for source in sources):
        digest.update(f"\0{instance}".encode())
    return UID(f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}")


def _equipment(algorithm: Algorithm) -> dict[str, str]:
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": DEVICE,
        "software_versions": algorithm.version,
        "device_serial_number": algorithm.sha256[:16],
    }


def _describe(
    number: int, organ: str, sources: Sequence[Dataset], algorithm: Algorithm
) -> highdicom.seg.SegmentDescription:
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=organ,
        segmented_property_category=ANATOMICAL_STRUCTURE,
        segmented_property_type=code_of(organ),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm.name,
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version,
            parameters={"weights_sha256": algorithm.sha256},
        ),
        tracking_id=organ,
        # What has this UID is taken for one and the same finding, whoever's it is.
        tracking_uid=derive_uid(sources, algorithm, f"finding {organ}"),
    )
    _add_side(described, organ)
    # A short text (ST) has at most 1024 characters; the SR and result.json have all of it.
    described.SegmentDescription = "; ".join(algorithm.notes)[:1024]
    return described


def _add_side(segment: Dataset, organ: str) -> None:
    """Say which of a pair an organ is; highdicom has no argument for the modifier of a type."""
    side = side_of(organ)
    if side is not None:
        coded = highdicom.sr.CodedConcept.from_code(side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = DicomSequence([coded])


def _measured(
    segmentation: highdicom.seg.Segmentation,
    segment: Dataset,
    volumes_ml: Mapping[str, float],
    sources: Sequence[Dataset],
    algorithm: Algorithm,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    organ = str(segment.SegmentLabel)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=segment.TrackingUID, identifier=organ),
        referenced_segment=ReferencedSegment.from_segmentation(segmentation, segment_number=int(segment.SegmentNumber)),
        finding_type=ANATOMICAL_STRUCTURE,
        finding_sites=[FindingSite(anatomic_location=code_of(organ), laterality=side_of(organ))],
        algorithm_id=AlgorithmIdentification(
            name=algorithm.name, version=algorithm.version, parameters=[f"weights_sha256={algorithm.sha256}"]
        ),
        measurements=[Measurement(name=codes.SCT.Volume, value=round(volumes_ml[organ], 3), unit=MILLILITRE)],
    )


def _comments(notes: Sequence[str]) -> ContainerContentItem:
    """Return the part of TID 1500 for what is no number, with a text for each note."""
    item = ContainerContentItem(name=QUALITATIVE, relationship_type=RelationshipTypeValues.CONTAINS)
    item.ContentSequence = ContentSequence(
        TextContentItem(name=codes.DCM.Comment, value=note, relationship_type=RelationshipTypeValues.CONTAINS)
        for note in notes
    )
    return item
