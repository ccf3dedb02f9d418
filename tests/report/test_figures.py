"""Curves of reports, seen as SVG."""

import re
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fedgin.report.figures import draw_curves, spread, write_curves
from fedgin.study.arms import Curve


def curves(count: int) -> dict[str, Curve]:
    return {f"site-{number}": [{"round": 0.0, "CT": number / 100}] for number in range(count)}


def test_every_line_is_drawn_and_named_however_many_there_are() -> None:
    for count in (1, 7, 30):
        [picture] = draw_curves(curves(count), {"CT": "CT cases", "MR": "nobody has it"}).values()
        assert len(re.findall(r">site-\d+</text>", picture)) == count
        assert "#010203" not in picture, "text has the page's colour"


def test_the_longest_name_of_a_site_leaves_room_for_its_line(tmp_path: Path) -> None:
    curves = {"s" * 64: [{"round": 0.0, "CT": 0.1}, {"round": 1.0, "CT": 0.2}]}
    assert draw_curves(curves, {"CT": "CT"})
    write_curves(tmp_path / "curves.png", curves, {"CT": "CT", "MR": "MR"})


def test_a_name_is_text_and_nothing_else() -> None:
    [picture] = draw_curves({"$a^<b>": [{"round": 0.0, "CT": 0.5}]}, {"CT": "CT"}).values()
    assert ">$a^&lt;b&gt;</text>" in picture


def test_a_value_that_is_missing_leaves_a_gap_and_no_error() -> None:
    curve = [{"round": 0.0, "CT": 0.5}, {"round": 1.0, "CT": float("nan")}, {"round": 2.0}]
    assert ">a</text>" in draw_curves({"a": curve, "b": [{"round": 1.0}]}, {"CT": "CT"})["CT"]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40))
def test_names_keep_their_order_and_do_not_overlap(values: list[float]) -> None:
    places = spread(values, gap=0.05, low=0.0, high=1.0)
    gap = min(0.05, 1.0 / max(1, len(values) - 1))
    order = sorted(range(len(values)), key=lambda index: values[index])
    lifted = [places[index] for index in order]
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(lifted))
    assert all(-1e-9 <= place <= 1.0 + 1e-9 for place in places)
