"""Pictures of reports, seen as PNG data URIs."""

from fedgin.report.figures import draw_curves
from fedgin.study.arms import Curve


def curves(count: int) -> dict[str, Curve]:
    return {f"site-{number}": [{"round": 0.0, "CT": number / 100}] for number in range(count)}


def test_every_line_is_drawn_however_many_there_are() -> None:
    pictures = [draw_curves(curves(count), ["CT"]) for count in range(7, 12)]
    assert len(set(pictures)) == len(pictures)
