"""In what an image, or what was found in it, is unlike the training or unlike an adult: warnings, never silence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedgin.data.look import look_at
from fedgin.data.nifti_header import APART_MM, HeaderCheck
from fedgin.data.organs import IN_PIECES, ORGANS, PLAIN
from fedgin.data.regions import Cut, bounding_box, find_regions, label_boxes
from fedgin.data.site import Modality
from fedgin.data.volumes import Volume
from fedgin.train.provenance import Provenance

# An organ smaller or larger by more than this factor than in the run's reference labels is implausible.
VOLUME_MARGIN = 2.0
# An organ of which the largest piece has less than this share is in pieces.
LARGEST_PIECE = 0.95


def find_unlike(
    image: Volume,
    modality: Modality,
    labels: NDArray[np.uint8],
    volumes_ml: Mapping[str, float],
    provenance: Provenance,
) -> list[str]:
    """Return the warnings for an image, a sentence each, without anything that tells who it is of.

    Args:
        image: voxels [X, Y, Z], CT in Hounsfield units.
        modality: the modality of the image.
        labels: uint8 [X, Y, Z] on the grid of the image, positions in ``volumes_ml`` plus 1.
        volumes_ml: the volumes in millilitres, by organ.
        provenance: what is known of the training.
    """
    found = [*_doubtful_place(image.header), *_unlike_image(image, modality, provenance)]
    boxes = label_boxes(labels, len(volumes_ml))
    for position, (organ, ml) in enumerate(volumes_ml.items(), start=1):
        box = boxes[position - 1]
        if box is None:
            found.append(f"{_words(organ)} was not found")
            continue
        pieces = find_pieces(labels[box] == position)
        found += _implausible_volume(organ, ml, provenance, cut_off=_reaches_edge(box, pieces.box, labels.shape))
        if organ not in IN_PIECES and pieces.share < LARGEST_PIECE:
            found.append(f"{_words(organ)} is in {pieces.count} pieces; the largest is {pieces.share:.0%} of it")
    return found


def describe_cuts(cuts: Mapping[int, Cut], organs: Sequence[str]) -> list[str]:
    """Return a warning for each organ of which a notable part was cut off, because it lay apart from the largest.

    Args:
        cuts: by position in ``organs`` plus 1.
        organs: the organs of the model.
    """
    return [
        f"{_words(organs[label - 1])} was in {cut.regions} pieces; only the largest is kept, {cut.share:.0%} of it"
        for label, cut in cuts.items()
        if cut.share < LARGEST_PIECE
    ]


@dataclass(frozen=True)
class Pieces:
    """The connected regions of an organ.

    Attributes:
        count: how many there are.
        share: that of the largest, 0 to 1.
        box: where the largest is.
    """

    count: int
    share: float
    box: tuple[slice, ...]


def find_pieces(mask: NDArray[np.bool_]) -> Pieces:
    """Return the pieces of a mask [X, Y, Z] with a voxel that is true."""
    regions = find_regions(mask)
    largest = regions.largest()
    box = bounding_box(largest)
    assert box is not None, "a piece has a voxel"
    return Pieces(regions.count, float(np.count_nonzero(largest) / np.count_nonzero(mask)), box)


def _doubtful_place(header: HeaderCheck) -> list[str]:
    if header.unset:
        return ["its header sets neither sform nor qform: its sides and its position are a guess"]
    if header.apart_mm > APART_MM:
        return [f"its sform and its qform place voxels up to {header.apart_mm:.1f} mm apart; the sform is used"]
    return []


def _unlike_image(image: Volume, modality: Modality, provenance: Provenance) -> list[str]:
    if modality not in provenance.modalities:
        trained = " and ".join(provenance.modalities)
        return [f"the image is {modality}, but the model was trained on {trained} alone"]
    seen = [item for item in provenance.appearances if item.modality is modality]
    if not seen:
        return [f"spacing, field of view and grey values of the {modality} training images are unknown: not compared"]
    return seen[0].differences(look_at(image))


def _implausible_volume(organ: str, ml: float, provenance: Provenance, *, cut_off: bool) -> list[str]:
    """Hold a volume against normal adults, and against the run's reference labels."""
    limits = {}
    adult, known = ORGANS.get(organ, PLAIN).adult_ml, provenance.volumes_ml.get(organ)
    if adult is not None and not adult[0] <= ml <= adult[1]:
        limits["normal adults"] = adult
    if known is not None and not known[0] / VOLUME_MARGIN <= ml <= known[1] * VOLUME_MARGIN:
        limits["the run's reference labels"] = known
    if not limits:
        return []
    held = "; ".join(f"{who} have {_shown(low)} to {_shown(high)} ml" for who, (low, high) in limits.items())
    edge = "; it reaches the edge of the image" if cut_off else ""
    return [f"{_words(organ)} has {_shown(ml)} ml; {held}{edge}"]


def _reaches_edge(box: tuple[slice, ...], piece: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether a piece, at its place in a box, reaches an edge of the image; crumbs elsewhere say nothing."""
    return any(
        side.start + inner.start == 0 or side.start + inner.stop == size
        for side, inner, size in zip(box, piece, shape, strict=True)
    )


def _shown(ml: float) -> str:
    return f"{ml:.0f}" if ml >= 10.0 else f"{ml:.2g}"


def _words(organ: str) -> str:
    return organ.replace("_", " ")
