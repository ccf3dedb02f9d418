"""What networks say of a test case: a slice with the reference and each prediction."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fedgin.data.cache import CachedCase
from fedgin.data.datalist import Case
from fedgin.data.site import Modality
from fedgin.data.validation.facts import count_by_slice, to_ras
from fedgin.data.validation.thumbnail import COLOURS, grey_limits, to_grey, upright
from fedgin.data.volumes import Volume, map_organs, read_pair
from fedgin.train.evaluate.evaluator import Segmentation, segment

# The longer side of a picture.
PIXELS = 640


@dataclass(frozen=True)
class Panel:
    """A picture with what stands below it; ``numbers`` are of the draw that made it."""

    title: str
    picture: Image.Image
    note: str = ""
    numbers: str = ""

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        buffer = io.BytesIO()
        self.picture.save(buffer, format="jpeg", quality=88, subsampling=0)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class ShownCase:
    """A test case's pictures: image, reference and predictions; and the draws."""

    title: str
    panels: list[Panel]
    draws: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """The axial slice of a test case that is shown, on the image's own grid in RAS+.

    Attributes:
        case: the case.
        index: of the slice.
        image: its voxels [X, Y].
        truth: the reference [X, Y], organ positions plus 1.
        limits: what is shown as black and as white.
        spacing: millimetres along X and Y.
    """

    case: Case
    index: int
    image: NDArray[np.generic]
    truth: NDArray[np.uint8]
    limits: tuple[float, float]
    spacing: tuple[float, float]

    @property
    def title(self) -> str:
        """The case as a reader finds it again in the scores."""
        return f"{self.case.modality} of {self.case.site}, test case {self.case.number}"


def busiest_slice(case: Case, organs: Sequence[str]) -> Shown:
    """Choose the slice that shows most organs, and of these the one with most organ voxels."""
    image, label = read_pair(case)
    ras = to_ras(image)
    ids = np.asarray(to_ras(Volume(map_organs(case, label, list(organs)), image.affine)).voxels)
    index = busiest(np.moveaxis(ids, 2, 0), len(organs))
    limits = grey_limits(ras.voxels, hounsfield=case.modality is Modality.CT)
    spacing = (float(ras.spacing[0]), float(ras.spacing[1]))
    return Shown(case, index, ras.voxels[:, :, index], ids[:, :, index], limits, spacing)


def predict_slice(
    network: nn.Module, case: CachedCase, index: int, organs: Sequence[str], *, in_one_piece: Collection[int]
) -> NDArray[np.uint8]:
    """Segment a case and return one axial slice of its own grid in RAS+, [X, Y], positions among ``organs`` plus 1.

    Args:
        network: the network.
        case: as this network is to see it; networks of one page may differ in resolution, in axes and in organs.
        index: of the slice.
        organs: all organs that are shown.
        in_one_piece: as for :func:`~fedgin.train.evaluate.evaluator.evaluate`.
    """
    shown: list[NDArray[np.uint8]] = []

    def keep(segmentation: Segmentation) -> None:
        labels = to_ras(Volume(segmentation.predicted, case.native.affine)).voxels
        shown.append(np.asarray(labels[:, :, index], dtype=np.uint8))

    segment(network, [case], torch.device("cpu"), keep, in_one_piece=in_one_piece)
    return np.array([0, *(organs.index(organ) + 1 for organ in case.organs)], dtype=np.uint8)[shown[0]]


def organ_colours(organs: Sequence[str]) -> dict[str, str]:
    """Return each organ's colour, in the order of the label's ids."""
    return {organ: COLOURS[index % len(COLOURS)] for index, organ in enumerate(organs)}


def show_case(shown: Shown, predictions: Mapping[str, NDArray[np.uint8]], notes: Mapping[str, str]) -> ShownCase:
    """Draw the slice, its reference and each network's prediction [X, Y], with a note below each."""
    nothing = np.zeros_like(shown.truth)
    panels = [Panel("image", _overlay(shown, nothing)), Panel("reference", _overlay(shown, shown.truth))]
    panels += [Panel(name, _overlay(shown, labels), notes.get(name, "")) for name, labels in predictions.items()]
    return ShownCase(shown.title, panels)


def contact_sheet(shown: Sequence[ShownCase], *, width: int = 240) -> Image.Image:
    """Return a picture of all cases for a document: a row of image, reference and predictions, and one of draws."""
    named = [(case.title.partition(" ")[0], row) for case in shown for row in (case.panels, case.draws) if row]
    text, gap = 22, 6
    heights = [round(width * max(panel.picture.height / panel.picture.width for panel in row)) for _, row in named]
    columns = max(len(row) for _, row in named)
    total = sum(heights) + len(named) * (text + gap) - gap
    sheet, y = Image.new("RGB", (columns * (width + gap) - gap, total), "white"), 0
    for (modality, row), high in zip(named, heights, strict=True):
        for x, panel in enumerate(row):
            place = (x * (width + gap), y)
            sheet.paste(_caption(f"{modality} {panel.title}" if x == 0 else panel.title, (width, text)), place)
            size = (width, round(width * panel.picture.height / panel.picture.width))
            sheet.paste(panel.picture.resize(size, Image.Resampling.BICUBIC), (place[0], place[1] + text))
        y += high + text + gap
    return sheet


def _caption(title: str, size: tuple[int, int]) -> Image.Image:
    from PIL import ImageDraw, ImageFont

    strip = Image.new("RGB", size, "white")
    ImageDraw.Draw(strip).text((2, 2), title, fill="black", font=ImageFont.load_default(15))
    return strip


def busiest(ids: NDArray[np.uint8], organs: int) -> int:
    """Return which slice of [slices, A, B] shows most organs, and of these the one with most voxels of them."""
    counts = count_by_slice(ids)[:, 1 : organs + 1]
    return int(np.lexsort((counts.sum(axis=1), (counts > 0).sum(axis=1)))[-1])


def _overlay(shown: Shown, labels: NDArray[np.uint8]) -> Image.Image:
    return draw_slice(shown.image, labels, shown.limits, shown.spacing)


def draw_slice(
    values: NDArray[np.generic], ids: NDArray[np.uint8], limits: tuple[float, float], spacing: tuple[float, float]
) -> Image.Image:
    """Draw [X, Y] as a radiologist looks at it, millimetres square: the patient's right on the left, organs tinted.

    Args:
        values: the voxels.
        ids: the organ of each by its position plus 1.
        limits: what is shown as black and as white.
        spacing: millimetres along both axes.
    """
    width, height = (side * mm for side, mm in zip(values.shape, spacing, strict=True))
    scale = PIXELS / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = Image.fromarray(upright(to_grey(values, limits)))
    shown = Image.fromarray(upright(ids)).resize(size, Image.Resampling.NEAREST)
    return tint(np.asarray(grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")), np.asarray(shown))


def tint(pixels: NDArray[np.uint8], ids: NDArray[np.uint8]) -> Image.Image:
    """Colour and outline organs.

    Args:
        pixels: the picture, [rows, columns, 3].
        ids: the organ of each pixel by its position plus 1, [rows, columns].
    """
    table = np.array([list(bytes.fromhex(colour[1:])) for colour in COLOURS], dtype=np.uint8)
    organ = ids > 0
    colours = table[(ids[organ].astype(int) - 1) % len(COLOURS)]
    share = np.where(_outline(ids)[organ], 1.0, 0.3)[:, None]
    tinted = pixels.copy()
    tinted[organ] = pixels[organ] * (1 - share) + colours * share
    return Image.fromarray(tinted)


def _outline(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels of an organ beside one that is not of it, two wide."""
    edge = np.zeros(ids.shape, dtype=bool)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            edge |= np.roll(ids, step, axis) != ids
    return edge & (ids > 0)
