"""Curves of a report, as SVG inside the page: sharp at any size, with the page's own text colour."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedgin.files import whole_file

if TYPE_CHECKING:
    from fedgin.study.arms import Curve  # with all of training behind it, which a live page does not need

# Okabe and Ito's palette, distinguishable with each kind of colour blindness, without black and yellow: a page may be
# dark or light.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# With more lines than colours the colours come again, dashed.
LINE_STYLES = ("-", "--", ":", "-.")
# Drawn in this colour, which is replaced by that of the page's text.
TEXT = "#010203"
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a site's name may hold a dollar sign
    "svg.hashsalt": "fedgin",
    "font.family": "sans-serif",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT),
}
LABEL_SIZE = 8.5
INCHES_A_LETTER = 0.075


def validation_titles(modalities: Iterable[str]) -> dict[str, str]:
    """Return the title of each modality's picture of :func:`draw_curves`, by the modality.

    Example:
        >>> validation_titles({"MR", "CT"})
        {'CT': 'CT validation cases', 'MR': 'MR validation cases'}
    """
    return {modality: f"{modality} validation cases" for modality in sorted(modalities)}


def draw_curves(curves: "Mapping[str, Curve]", modalities: Mapping[str, str]) -> dict[str, str]:
    """Draw validation Dice by rounds of training, one picture a modality, with each line's name at its end.

    Args:
        curves: by the lines' names.
        modalities: the key of each modality's value in a point, and the title of its picture.

    Returns:
        SVG by title; a modality of which no point has a value is left out.
    """
    drawn = {}
    for key, title in modalities.items():
        lines = _lines(curves, key)
        if lines:
            with mpl.rc_context(STYLE):
                figure = Figure(figsize=(5.6, max(3.1, 0.19 * len(lines) + 0.8)))
                draw_panel(figure.subplots(), lines)
                _fit(figure, lines, panels=1)
                drawn[title] = to_svg(figure)
    return drawn


def write_curves(path: Path, curves: "Mapping[str, Curve]", modalities: Mapping[str, str]) -> None:
    """Write the same as PNG, on white, side by side, for a document."""
    shown = {title: lines for key, title in modalities.items() if (lines := _lines(curves, key))}
    figure = Figure(figsize=(5.6 * max(1, len(shown)), 3.3))
    panels = figure.subplots(1, max(1, len(shown)), squeeze=False)[0]
    for panel, (title, lines) in zip(panels, shown.items(), strict=False):
        draw_panel(panel, lines)
        panel.set_title(title, fontsize=10)
    _fit(figure, [name for lines in shown.values() for name in lines], panels=len(panels))
    with whole_file(path) as part:
        figure.savefig(part, dpi=110)


def draw_panel(panel: Axes, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draw lines of (rounds, Dice) and write each one's name at its end, in its colour and without overlap."""
    ends = spread([points[-1][1] for points in lines.values()], gap=0.062, low=0.0, high=1.0)
    last = max(points[-1][0] for points in lines.values())
    for number, ((name, points), end) in enumerate(zip(lines.items(), ends, strict=True)):
        look = _look(number)
        panel.plot(*zip(*points, strict=True), **look, marker="o", markersize=2.5, linewidth=1.6)
        panel.annotate(
            name,
            xy=points[-1],
            xytext=(1.04, end),
            textcoords=("axes fraction", "data"),
            color=look["color"],
            fontsize=LABEL_SIZE,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look["color"], "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        )
    panel.set(
        xlabel="rounds of training", ylabel="mean Dice", ylim=(0, 1), xlim=(-0.02 * last - 0.1, 1.01 * last + 0.1)
    )
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.15)
    panel.spines[["top", "right"]].set_visible(False)


def spread(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move values apart as little as keeps them in their order, ``gap`` from each other and in range where all fit.

    >>> [round(value, 3) for value in spread([0.5, 0.52, 0.1], gap=0.1, low=0.0, high=1.0)]
    [0.46, 0.56, 0.1]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    gap = min(gap, (high - low) / max(1, len(values) - 1))
    blocks: list[tuple[float, list[int]]] = []  # the lowest place of a block, and its members from low to high
    for index in order:
        blocks.append((min(max(values[index], low), high), [index]))
        while len(blocks) > 1 and blocks[-2][0] + gap * len(blocks[-2][1]) > blocks[-1][0]:
            members = blocks[-2][1] + blocks[-1][1]
            wanted = sum(values[item] - gap * place for place, item in enumerate(members)) / len(members)
            blocks[-2:] = [(min(max(wanted, low), high - gap * (len(members) - 1)), members)]
    placed = {item: start + gap * place for start, members in blocks for place, item in enumerate(members)}
    return [placed[index] for index in range(len(values))]


def _lines(curves: "Mapping[str, Curve]", key: str) -> dict[str, list[tuple[float, float]]]:
    found = {
        name: [(point["round"], point[key]) for point in curve if key in point and math.isfinite(point[key])]
        for name, curve in curves.items()
    }
    return {name: points for name, points in found.items() if points}


def _look(number: int) -> dict[str, Any]:
    turn, color = divmod(number, len(PALETTE))
    return {"color": PALETTE[color], "linestyle": LINE_STYLES[turn % len(LINE_STYLES)]}


def _fit(figure: Figure, names: Sequence[str] | Mapping[str, Any], *, panels: int) -> None:
    """Leave room for the names right of each panel."""
    width, height = figure.get_size_inches()
    own = width / panels
    # A name may be so long that no room for the lines was left: it is cut off then.
    label = min(INCHES_A_LETTER * max((len(name) for name in names), default=0) + 0.3, 0.6 * own)
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - label / width,
        bottom=0.48 / height,
        top=1 - 0.3 / height,
        wspace=(label + 0.6) / max(0.5, own - label - 0.6),
    )


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG for a page; what has the colour :data:`TEXT` gets that of the page's text."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    # Without the XML head, which has no place inside HTML.
    return text[text.index("<svg") :].replace(TEXT, "currentColor")
