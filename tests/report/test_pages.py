"""All pages share one look, and a browser shows them on a phone, without a network and without errors."""

import re
from pathlib import Path

import pytest

from tests.report.browser import look_at
from tests.report.pages import Pages, write_pages

NAMES = ("comparison", "failed", "job", "live", "prediction", "study", "validation")
BROKEN = """<!doctype html><body><div style="width: 900px">wide</div>
<img src="http://127.0.0.1:9/other.png"><script>console.error("said something")</script></body>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return write_pages(tmp_path_factory.mktemp("pages"))


def test_a_browser_shows_every_page_on_a_phone_and_a_desk(pages: Pages, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(BROKEN)
    assert [path.stem for path in pages.paths] == list(NAMES)
    seen = look_at([*pages.paths, broken], (400, 1200), tmp_path)
    fault = seen.pop(("broken", 400))
    assert (fault.overflow > 400, len(fault.loaded), bool(fault.console)) == (True, 1, True), "the check can fail"
    del seen["broken", 1200]
    assert len(seen) == 2 * len(NAMES)
    assert {name: page.overflow for name, page in seen.items() if page.overflow > 0} == {}
    assert {name: page.loaded for name, page in seen.items() if page.loaded} == {}
    assert {name: page.console for name, page in seen.items() if page.console} == {}
    assert min(page.text for page in seen.values()) > 400


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_a_verdict_before_all_else_and_hashes_folded_away(pages: Pages, name: str) -> None:
    text = pages.text(name)
    assert text.index('<p class="verdict') < text.index("<h2>")
    assert text.count("<h1>") == 1
    folded = text[text.rindex("<details>") :]
    assert "fedgin SHA-256" in folded
    assert "fedgin SHA-256" not in text[: text.rindex("<details>")]
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text), "a page is one file"


def test_only_a_page_of_a_job_that_runs_renews_itself(pages: Pages) -> None:
    assert [name for name in NAMES if 'http-equiv="refresh"' in pages.text(name)] == ["live"]
    assert "Running: 2 of 5 rounds are complete." in pages.text("live")
    assert "round 3 waits for b" in pages.text("live")


def test_settings_are_a_table_and_nothing_is_named_as_in_a_program(pages: Pages) -> None:
    for name in ("comparison", "job", "live"):
        text = pages.text(name)
        assert "<tr><th>training.local_steps</th><td>2</td></tr>" in text
        assert "{&#39;" not in text
        assert "SRV_" not in text
        assert "nan" not in re.sub(r'"data:[^"]*"', "", text)
    assert "sd nan" not in pages.text("study")
    assert "1 patient, 1 seed" in pages.text("study")


def test_sites_are_in_the_order_of_their_numbers(pages: Pages) -> None:
    text = pages.text("comparison")
    assert re.findall(r"<tr><td>(site-\d+)</td>", text) == ["site-2", "site-10"] * 2
    assert "last round</th>" in text
    assert text.index("best by validation") < text.index("site-2&#39;s own") < text.index("site-10&#39;s own")


def test_every_curve_is_named_at_its_line(pages: Pages) -> None:
    for name, lines in (("comparison", ("mr only none", "mr only gin")), ("live", ("a", "b"))):
        pictures = re.findall(r"<svg.*?</svg>", pages.text(name), re.DOTALL)
        assert pictures
        for picture in pictures:
            for line in lines:
                assert re.search(rf">{line}</text>", picture)


def test_each_arm_s_prediction_can_be_judged(pages: Pages) -> None:
    text = pages.text("comparison")
    for title in ("image", "reference", "mr only none", "mr only gin"):
        assert text.count(f"<figcaption><b>{title}</b>") == 2, "one for each modality"
    assert text.count('<label class="zoom"><input type="checkbox"') == 2 * (4 + 4)
