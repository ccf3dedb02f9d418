"""Folders, each once, whatever links lead to."""

from pathlib import Path

from fedgin.data.tree import walk_folders
from tests.modes import bound_by_modes


def test_each_folder_comes_once_and_what_links_lead_to_comes_last(tmp_path: Path) -> None:
    for name in ("in/a/deep", "in/z", "archive/year", "other"):
        (tmp_path / name).mkdir(parents=True)
    for link, target in {"in/b": "archive", "in/c": "archive/year", "in/d": "in/a", "archive/e": "other"}.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    found = [(item.path.relative_to(tmp_path).as_posix(), item.linked) for item in walk_folders(tmp_path / "in")]
    assert sorted(found[:4]) == [(name, False) for name in ("in", "in/a", "in/a/deep", "in/z")]
    linked = dict(found[4:])
    assert all(linked.values())
    assert len(linked) == len(found) - 4 == 3
    assert linked.keys() >= {"in/b", "in/b/e"}


def test_links_around_are_left_out_and_told_and_circles_are_neither(tmp_path: Path) -> None:
    (tmp_path / "disk" / "in" / "a").mkdir(parents=True)
    (tmp_path / "mount" / "archive").mkdir(parents=True)
    links: dict[str, str | Path] = {
        "disk/in/root": "/",
        "disk/in/.root": "/",
        "disk/in/disk": tmp_path / "disk",
        "disk/in/a/up": tmp_path / "disk" / "in",
        "disk/in/b": tmp_path / "mount" / "archive",
        "mount/archive/mount": tmp_path / "mount",
        "mount/archive/self": tmp_path / "mount" / "archive",
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    told: list[Path] = []
    source = tmp_path / "disk" / "in"
    found = {item.path for item in walk_folders(source, on_left_out=told.append)}
    assert found == {source, source / "a", source / "b"}
    assert sorted(told) == [source / "b" / "mount", source / "disk", source / "root"]


def test_what_is_passed_over_and_what_may_not_be_listed_hides_nothing_else(tmp_path: Path) -> None:
    for name in ("closed", "skip", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "skip" / "link").symlink_to(tmp_path / "open")
    (tmp_path / "closed").chmod(0o000)
    told: list[Path] = []
    with bound_by_modes():
        walked = walk_folders(tmp_path, passes_over=lambda path: path.name == "skip", on_left_out=told.append)
        found = [item.path for item in walked]
    (tmp_path / "closed").chmod(0o700)
    assert found == [tmp_path, tmp_path / "open"]
    assert told == [tmp_path / "closed"]
