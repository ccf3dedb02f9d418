"""What a multi-frame object says of each of its frames, under the keywords that single-frame objects use."""

from collections.abc import Iterator

import pydicom


def frames_of(dataset: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Yield for every frame the elements of its functional groups, those that all frames share included.

    The groups are flattened: ``PlanePositionSequence[0].ImagePositionPatient`` is found as ``ImagePositionPatient``.
    Nothing is yielded for an object without functional groups of frames.

    Raises:
        ValueError: it describes more or fewer frames than it has, which would be left out in silence.
    """
    described = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if described and len(described) != int(dataset.get("NumberOfFrames") or 1):
        raise ValueError("other frames are described than there are")
    shared = [_flat(item) for item in dataset.get("SharedFunctionalGroupsSequence") or []]
    for groups in described:
        frame = pydicom.Dataset()
        for elements in (*shared, _flat(groups)):
            frame.update(elements)
        yield frame


def _flat(groups: pydicom.Dataset) -> pydicom.Dataset:
    elements = pydicom.Dataset()
    for group in groups:
        # Makers keep a copy of a whole single-frame header in a private group, with places of another frame in it.
        if group.VR == "SQ" and group.value and not group.tag.is_private:
            elements.update(group.value[0])
    return elements
