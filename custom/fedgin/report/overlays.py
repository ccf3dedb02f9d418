"""What the networks see and say: a test case's slice, its draws, the reference and each arm's prediction."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fedgin.augment import Augmentation
from fedgin.augment.draws import draw_to_text
from fedgin.data.cache import CachedCase
from fedgin.data.validation.thumbnail import COLOURS, upright
from fedgin.nets.dsbn import route
from fedgin.seeds import make_generator

# z-scored intensities from black to white.
DISPLAY_LIMIT = 2.5
# Pixels of a picture for each of a slice's; a slice has about a hundred a side.
SCALE = 4
# A draw with more numbers than this is named by its seed alone.
LONGEST_NUMBERS = 20_000


@dataclass(frozen=True)
class Slice:
    """One slice to show, in the canonical grid: image [X, Y], truth [X, Y], the body and the case it is of."""

    case: CachedCase
    image: Tensor
    truth: NDArray[np.uint8]
    body: Tensor

    @property
    def title(self) -> str:
        """The case as a reader finds it again in the scores."""
        case = self.case.case
        return f"{case.modality} of {case.site}, test case {case.number}"


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


def busiest_slice(case: CachedCase) -> Slice:
    """Choose the slice that shows most organs, and of these the one with most organ pixels."""
    labels = case.read("label").numpy()
    organs = np.array([len(np.unique(label)) for label in labels])
    pixels = (labels > 0).sum(axis=(1, 2))
    index = int(np.lexsort((pixels, organs))[-1])
    return Slice(case, case.read("image", index), labels[index], case.read("body", index))


def predict_slice(network: nn.Module, shown: Slice) -> NDArray[np.uint8]:
    """Segment one slice; the network must be in evaluation mode."""
    route(network, [shown.case.case.modality.value])
    with torch.no_grad():
        logits: Tensor = network(shown.image[None, None])
    return logits[0].argmax(0).numpy().astype(np.uint8)


def organ_colours(organs: Sequence[str]) -> dict[str, str]:
    """Return each organ's colour, in the order of the label's ids."""
    return {organ: COLOURS[index % len(COLOURS)] for index, organ in enumerate(organs)}


def show_case(shown: Slice, networks: Mapping[str, nn.Module], notes: Mapping[str, str]) -> ShownCase:
    """Draw the slice, its reference and each network's prediction, with a note below each."""
    panels = [Panel("image", _draw(shown.image)), Panel("reference", _draw(shown.image, shown.truth))]
    for name, network in networks.items():
        panels.append(Panel(name, _draw(shown.image, predict_slice(network, shown)), notes.get(name, "")))
    return ShownCase(shown.title, panels)


def show_draws(shown: Slice, augmentation: Augmentation[Any], *, seed: int, draws: int) -> list[Panel]:
    """Draw augmented versions of the slice, each with the numbers that replay it."""
    panels = []
    for number in range(1, draws + 1):
        names = (seed, shown.case.case.modality.value, number, "report")
        draw = augmentation.draw((1, 1, *shown.image.shape), gen=make_generator(*names))
        changed = augmentation.apply(shown.image[None, None], draw, body=shown.body[None, None])
        alpha = getattr(draw.params, "alpha", None)
        note = f"alpha {float(alpha[0]):.2f}" if isinstance(alpha, Tensor) else ""
        numbers = draw_to_text(draw)
        if len(numbers) > LONGEST_NUMBERS:
            numbers = f"{len(numbers)} letters; drawn anew by make_generator{names}"
        panels.append(Panel(f"draw {number}", _draw(changed[0, 0]), note, numbers))
    return panels


def contact_sheet(shown: Sequence[ShownCase], *, width: int = 240) -> Image.Image:
    """Return a picture of all cases for a document: a row of image, reference and predictions, and one of draws."""
    named = [(case.title.partition(" ")[0], row) for case in shown for row in (case.panels, case.draws) if row]
    rows = [row for _, row in named]
    ratio = max(panel.picture.height / panel.picture.width for row in rows for panel in row)
    high, text, gap = round(width * ratio), 22, 6
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, len(rows) * (high + text + gap) - gap), "white")
    for y, (modality, row) in enumerate(named):
        for x, panel in enumerate(row):
            place = (x * (width + gap), y * (high + text + gap))
            title = f"{modality} {panel.title}" if x == 0 else panel.title
            sheet.paste(_caption(title, (width, text)), place)
            sheet.paste(panel.picture.resize((width, high), Image.Resampling.BICUBIC), (place[0], place[1] + text))
    return sheet


def _caption(title: str, size: tuple[int, int]) -> Image.Image:
    from PIL import ImageDraw, ImageFont

    strip = Image.new("RGB", size, "white")
    ImageDraw.Draw(strip).text((2, 2), title, fill="black", font=ImageFont.load_default(15))
    return strip


def _draw(image: Tensor, labels: NDArray[np.uint8] | None = None) -> Image.Image:
    """Show a slice as a radiologist does: the patient's right on the left, front up. Organs are tinted and outlined."""
    grey = np.clip((upright(image.numpy()) + DISPLAY_LIMIT) / (2 * DISPLAY_LIMIT), 0.0, 1.0)
    picture = Image.fromarray(np.asarray(255 * grey, dtype=np.uint8))
    size = (SCALE * picture.width, SCALE * picture.height)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    if labels is None:
        return Image.fromarray(pixels)
    ids = np.kron(upright(labels), np.ones((SCALE, SCALE), dtype=np.uint8))
    return tint(pixels, ids)


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
