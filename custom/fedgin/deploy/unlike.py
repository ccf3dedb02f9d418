"""In what an image, or what was found in it, is unlike the training or unlike an adult: warnings, never silence."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fedgin.data.look import look_at
from fedgin.data.organs import IN_PIECES, ORGANS, PLAIN
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
    found = _unlike_image(image, modality, provenance)
    boxes = ndimage.find_objects(labels, max_label=len(volumes_ml))
    for position, (organ, ml) in enumerate(volumes_ml.items(), start=1):
        box = boxes[position - 1]
        if box is None:
            found.append(f"{_words(organ)} was not found")
            continue
        found += _implausible_volume(organ, ml, provenance, cut_off=_reaches_edge(box, labels.shape))
        if organ not in IN_PIECES:
            found += _in_pieces(organ, labels[box] == position)
    return found


def find_pieces(mask: NDArray[np.bool_]) -> tuple[int, float]:
    """Return the number of connected regions, and the share of the largest, 0 to 1.

    Args:
        mask: bool [X, Y, Z] with a voxel that is true.
    """
    regions, _ = ndimage.label(mask)
    sizes = np.bincount(regions.ravel())[1:]
    return len(sizes), float(sizes.max() / sizes.sum())


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


def _in_pieces(organ: str, mask: NDArray[np.bool_]) -> list[str]:
    pieces, largest = find_pieces(mask)
    if largest >= LARGEST_PIECE:
        return []
    return [f"{_words(organ)} is in {pieces} pieces; the largest is {largest:.0%} of it"]


def _reaches_edge(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == size for side, size in zip(box, shape, strict=True))


def _shown(ml: float) -> str:
    return f"{ml:.0f}" if ml >= 10.0 else f"{ml:.2g}"


def _words(organ: str) -> str:
    return organ.replace("_", " ")
