"""A forest plot: what each site measured, what they say together, and where a new site is expected."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedgin.report.figures import INCHES_A_LETTER, LABEL_SIZE, PALETTE, STYLE, TEXT, to_svg
from fedgin.study.centres import Centres, Summary
from fedgin.study.random_effects import Interval

WIDTH_INCHES, ROW_INCHES, NUMBERS_INCHES = 6.4, 0.27, 1.45
SITE, TOGETHER, NEW = PALETTE[0], PALETTE[1], PALETTE[2]


def draw_forest(centres: Centres, summary: Summary, *, label: str) -> str:
    """Draw sites as rows, points with 95 % intervals, the summary as a diamond, and a new site's interval as a bar.

    Args:
        centres: the sites.
        summary: of them.
        label: of the axis.

    Returns:
        SVG for a page. An interval ends where Dice does, at 0 and 1; a point's area is as its weight.
    """
    names = [f"{site.site} ({site.patients})" for site in centres.sites]
    rows = [*names, "mean over sites", "a new site (95 %)"]
    with mpl.rc_context(STYLE):
        height = ROW_INCHES * len(rows) + 0.6
        figure = Figure(figsize=(WIDTH_INCHES, height))
        panel = figure.subplots()
        _draw_sites(panel, centres, summary)
        _draw_summary(panel, summary, len(names))
        panel.set(xlabel=label, ylim=(len(rows) - 0.4, -0.6))
        panel.set_yticks(range(len(rows)), rows, fontsize=LABEL_SIZE)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", alpha=0.15)
        panel.spines[["top", "right", "left"]].set_visible(False)
        left = min(INCHES_A_LETTER * max(map(len, rows)) + 0.25, 0.6 * (WIDTH_INCHES - NUMBERS_INCHES))
        panel.use_sticky_edges = False
        panel.margins(x=0.03)
        figure.subplots_adjust(
            left=left / WIDTH_INCHES,
            right=1 - NUMBERS_INCHES / WIDTH_INCHES,
            bottom=0.48 / height,
            top=1 - 0.08 / height,
        )
        return to_svg(figure)


def _draw_sites(panel: Axes, centres: Centres, summary: Summary) -> None:
    weights = [1.0 / (site.variance + summary.combined.tau**2) for site in centres.sites]
    for row, (site, weight) in enumerate(zip(centres.sites, weights, strict=True)):
        panel.plot(shown(site.interval), (row, row), color=SITE, linewidth=1.4)
        panel.scatter([site.mean], [row], s=16 + 40 * weight / max(weights), color=SITE, marker="s", zorder=3)
        _say(panel, row, site.mean, site.interval)


def _draw_summary(panel: Axes, summary: Summary, row: int) -> None:
    mean, (low, high) = summary.combined.mean, shown(summary.combined.interval)
    panel.fill([low, mean, high, mean], [row, row - 0.3, row, row + 0.3], color=TOGETHER, zorder=3)
    panel.axvline(mean, color=TOGETHER, linewidth=0.8, linestyle=":", zorder=0)
    _say(panel, row, mean, summary.combined.interval)
    low, high = shown(summary.new_site)
    panel.barh(row + 1, high - low, left=low, height=0.34, color=NEW)
    panel.annotate(
        f"{low:.2f} to {high:.2f}",
        (1.02, row + 1),
        xycoords=panel.get_yaxis_transform(),
        fontsize=LABEL_SIZE,
        va="center",
        annotation_clip=False,
    )


def _say(panel: Axes, row: int, mean: float, interval: Interval) -> None:
    low, high = shown(interval)
    panel.annotate(
        f"{mean:.2f} [{low:.2f}, {high:.2f}]",
        (1.02, row),
        xycoords=panel.get_yaxis_transform(),
        fontsize=LABEL_SIZE,
        va="center",
        annotation_clip=False,
        color=TEXT,
    )


def shown(interval: Interval) -> Interval:
    """Return the part of an interval in which Dice can be."""
    return max(0.0, interval[0]), min(1.0, interval[1])
