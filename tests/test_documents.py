"""What the Markdown files of the repository promise: a short README, links that lead somewhere, files that agree."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import fedgin
from fedgin.data.datalist import Split, list_cases
from fedgin.data.site import load_site
from fedgin.deploy.node.settings import load_node
from tests.places import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\]]|\\\])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+?)\s*#*$", re.MULTILINE)
LONGEST_README = 1000


def prose(path: Path) -> str:
    """Return a document without its fenced blocks."""
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in HEADING.findall(prose(path))]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def broken(path: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return False
    name, _, anchor = unquote(link).partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return True
    return bool(anchor) and (target.suffix != ".md" or anchor not in anchors(target))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert [link for link in LINK.findall(prose(path)) if broken(path, link)] == []


def test_the_readme_is_read_in_five_minutes() -> None:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) <= LONGEST_README


def test_the_readme_leads_to_every_document() -> None:
    """From the README every document is reached by links."""
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            targets = [(path.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(path))]
            waiting += [target for target in targets if target.suffix == ".md" and target.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in set(DOCUMENTS) - reached} == set()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", fedgin.__version__)
    assert citation["license"] == "Apache-2.0"
    for work in [citation, *citation["references"]]:
        assert work["title"]
        assert work["authors"]


def example(name: str, language: str) -> str:
    """Return a document's first block in a language."""
    match = re.search(
        rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert match is not None
    return match.group(1)


def test_the_site_of_the_readme_loads(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(example("README.md", "yaml").replace("/data/abdomen", str(tmp_path)))
    (tmp_path / "datalist.json").write_text(example("README.md", "json"))
    listed = [entry["image"] for split in json.loads(example("README.md", "json")).values() for entry in split]
    for name in [*listed, *(image.replace("ct_", "seg_") for image in listed)]:
        (tmp_path / name).touch()
    cases = list_cases(load_site(tmp_path / "site.yaml"))
    assert {split: len(found) for split, found in cases.items()} == dict.fromkeys(Split, 1)


def test_the_node_of_the_guide_loads(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(example("docs/clinic.md", "yaml"))
    assert load_node(tmp_path / "node.yaml").known == ["SCANNER", "PACS"]
