"""Pictures of a report, as PNG data URIs, so that the report is one file and works offline."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from fedgin.augment import Augmentation
from fedgin.data.cache import CachedCase
from fedgin.nets.dsbn import route
from fedgin.seeds import make_generator
from fedgin.study.arms import Curve

# Okabe and Ito's palette: distinguishable with each kind of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
# With more lines than colours the colours come again, dashed.
LINE_STYLES = ("-", "--", ":", "-.")
DISPLAY_LIMIT = 2.5


@dataclass(frozen=True)
class Slice:
    """One slice to show, in the canonical grid: image [X, Y], truth [X, Y] and the case it is of."""

    case: CachedCase
    image: Tensor
    truth: NDArray[np.uint8]
    body: Tensor


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


def draw_curves(curves: Mapping[str, Curve], modalities: Sequence[str]) -> str:
    """Draw validation Dice by round: one panel a modality, one line an arm."""
    figure = Figure(figsize=(4.2 * len(modalities) + 1.2, 3.2), layout="constrained")
    panels = figure.subplots(1, len(modalities), sharey=True, squeeze=False)[0]
    for panel, modality in zip(panels, modalities, strict=True):
        for number, (title, curve) in enumerate(curves.items()):
            points = [(point["round"], point[modality]) for point in curve if modality in point]
            panel.plot(*zip(*points, strict=True), **_line(number), label=title, marker="o", markersize=3)
        panel.set(title=f"{modality} validation cases", xlabel="rounds of training", ylim=(0, 1))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mean Dice")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return _encode(figure)


def _line(number: int) -> dict[str, Any]:
    turn, color = divmod(number, len(PALETTE))
    return {"color": PALETTE[color], "linestyle": LINE_STYLES[turn % len(LINE_STYLES)]}


def draw_predictions(
    shown: Sequence[Slice],
    networks: Sequence[Mapping[str, nn.Module]],
    augmentation: Augmentation[Any],
    *,
    seed: int,
    draws: int = 4,
) -> str:
    """Draw a row for each slice: the image, ``draws`` augmented versions of it, the truth and each arm's prediction.

    ``networks`` has, for each slice, the arms' networks as the slice's site uses them, by the arms' titles.
    """
    columns = 2 + draws + len(networks[0])
    figure = Figure(figsize=(1.75 * columns, 1.6 * len(shown) + 0.5), layout="constrained")
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for row, entry, used in zip(grid, shown, networks, strict=True):
        _draw_row(row, entry, used, augmentation, seed=seed, draws=draws)
    for row in grid[1:]:
        for panel in row:
            panel.set_title("")
    _draw_legend(figure, shown[0].case.organs)
    return _encode(figure)


def _draw_row(
    row: Sequence[Axes],
    entry: Slice,
    networks: Mapping[str, nn.Module],
    augmentation: Augmentation[Any],
    *,
    seed: int,
    draws: int,
) -> None:
    _show(row[0], entry.image, "image")
    row[0].set_ylabel(f"{entry.case.case.modality} case {entry.case.case.number}", fontsize=8)
    for number, panel in enumerate(row[1 : draws + 1], start=1):
        generator = make_generator(seed, entry.case.case.modality.value, number, "report")
        changed = augmentation(entry.image[None, None], gen=generator, body=entry.body[None, None])
        _show(panel, changed[0, 0], f"draw {number}")
    _show(row[draws + 1], entry.image, "truth", entry.truth)
    for panel, (title, network) in zip(row[draws + 2 :], networks.items(), strict=True):
        _show(panel, entry.image, title, predict_slice(network, entry))


def _show(panel: Axes, image: Tensor, title: str, labels: NDArray[np.uint8] | None = None) -> None:
    """Show a slice as a radiologist does: the patient's right on the left, front up."""
    picture = np.flipud(image.numpy().T)[:, ::-1]
    panel.imshow(picture, cmap="gray", vmin=-DISPLAY_LIMIT, vmax=DISPLAY_LIMIT)
    if labels is not None:
        flipped = np.flipud(labels.T)[:, ::-1].astype(int)
        colored = np.ma.masked_where(flipped == 0, (flipped - 1) % len(PALETTE) + 1)
        panel.imshow(
            colored, cmap=ListedColormap(PALETTE), vmin=1, vmax=len(PALETTE), alpha=0.6, interpolation="nearest"
        )
    panel.set_title(title, fontsize=8)
    panel.set(xticks=[], yticks=[])


def _draw_legend(figure: Figure, organs: Sequence[str]) -> None:
    handles = [
        mpl.patches.Patch(color=PALETTE[index % len(PALETTE)], label=organ.replace("_", " "))
        for index, organ in enumerate(organs)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(organs), fontsize=8, frameon=False)


def _encode(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
