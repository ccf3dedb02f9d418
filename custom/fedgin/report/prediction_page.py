"""Write what was segmented as one offline HTML page to look at: each image's organs, volumes and warnings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgin.data.regions import bounding_box
from fedgin.data.site import Modality
from fedgin.data.validation.facts import count_by_slice, to_ras
from fedgin.data.validation.thumbnail import grey_limits
from fedgin.data.volumes import Volume
from fedgin.deploy.bundle import NOT_A_DEVICE, Bundle, bundle_name
from fedgin.deploy.predict import Prediction
from fedgin.deploy.results import Result
from fedgin.page import Verdict, write_page
from fedgin.report.overlays import Panel, draw_slice, organ_colours

PAGE = "report.html"
# Axial slices of an image, besides a coronal one.
MOST_SLICES = 7
# Images with pictures; each needs half a megabyte of the page, and the labels of all are files anyway.
MOST_IMAGES = 40


class Pictures:
    """Draws images while they are in memory, and keeps the pictures only."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[Panel]] = {}

    def draw(self, result: Result, image: Volume, prediction: Prediction) -> None:
        """Draw the slices in which each organ is largest, and a coronal slice through the most of all organs."""
        if len(self.by_name) < MOST_IMAGES:
            organs = list(prediction.volumes_ml)
            self.by_name[result.name] = draw_slices(image, prediction.labels, organs, Modality(result.modality))


def draw_slices(image: Volume, labels: NDArray[np.uint8], organs: Sequence[str], modality: Modality) -> list[Panel]:
    """Return pictures of an image with its organs.

    Args:
        image: voxels [X, Y, Z] in any orientation.
        labels: uint8 [X, Y, Z] on its grid, organ positions plus 1.
        organs: the organs by position.
        modality: a CT is shown in a window for soft tissue.
    """
    ras, ids = to_ras(image), np.asarray(to_ras(Volume(labels, image.affine)).voxels)
    limits = grey_limits(ras.voxels, hounsfield=modality is Modality.CT)
    panels = []
    counts = count_by_slice(np.moveaxis(ids, 2, 0))[:, 1 : len(organs) + 1]
    for index, shown in _choose(counts, organs).items():
        picture = draw_slice(ras.voxels[:, :, index], ids[:, :, index], limits, (ras.spacing[0], ras.spacing[1]))
        panels.append(Panel(f"axial slice {index + 1} of {ids.shape[2]}", picture, shown))
    if ids.any() and min(ids.shape) > 1:
        box = bounding_box(ids)
        assert box is not None, "an organ is there"
        front = box[1].start + int(count_by_slice(np.moveaxis(ids[box], 1, 0))[:, 1:].sum(axis=1).argmax())
        picture = draw_slice(ras.voxels[:, front], ids[:, front], limits, (ras.spacing[0], ras.spacing[2]))
        panels.append(Panel(f"coronal slice {front + 1} of {ids.shape[1]}", picture, "most of all organs"))
    return panels


def write_prediction_page(path: Path, bundle: Bundle, results: Sequence[Result], pictures: Pictures) -> Path:
    """Write the page and return its path.

    Images are named as their results are: by the file name that the user gave, or ``series-N``.

    Args:
        path: of the page.
        bundle: that segmented.
        results: one an image.
        pictures: those of the images that were segmented.
    """
    organs = bundle.experiment.organs
    context = {
        "verdict": _verdict(results),
        "not_a_device": NOT_A_DEVICE,
        "model": bundle_name(bundle.provenance),
        "weights_sha256": bundle.sha256,
        "colours": organ_colours(organs),
        "results": results,
        "pictures": pictures.by_name,
        "most_images": MOST_IMAGES,
    }
    return write_page(path, "prediction.html", "fedgin.report", context)


def _verdict(results: Sequence[Result]) -> Verdict:
    failed = sum(bool(result.problem) for result in results)
    warned = sum(bool(result.warnings) for result in results)
    text = f"{len(results) - failed} of {len(results)} images went through; with warnings: {warned}."
    return Verdict(text, "bad" if failed else "plain" if warned else "good")


def _choose(counts: NDArray[np.int64], organs: Sequence[str]) -> dict[int, str]:
    """Return the slices to show, in order, with the organs that are largest there; the middle one without any organ.

    Args:
        counts: voxels of each organ in each slice, [D, organs].
        organs: the organs by position.
    """
    if not counts.any():
        return {len(counts) // 2: "no organ was found"}
    found: dict[int, list[str]] = {}
    for position in np.argsort(-counts.max(axis=0), kind="stable"):
        index = int(np.argmax(counts[:, position]))
        if counts[index, position] and (index in found or len(found) < MOST_SLICES):
            found.setdefault(index, []).append(organs[position].replace("_", " "))
    return {index: f"largest: {', '.join(found[index])}" for index in sorted(found)}
