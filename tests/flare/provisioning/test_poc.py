from pathlib import Path

import pytest

from fedgin.data.site import SiteContract, load_site
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.provisioning import poc
from tests.places import ROOT
from tests.sites import write_site

POLICIES = ROOT / "provisioning" / "policies"


def contracts(folder: Path, name: str = "ct-a") -> dict[str, SiteContract]:
    return {name: load_site(write_site(folder, name))}


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ConfigError, match="mine is there already"):
        poc.prepare_poc(tmp_path / "mine", contracts(tmp_path / "site"), POLICIES, port=8002)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["two words", "hash#1", "a'b", "back\\slash"])
def test_a_path_that_flare_cannot_start_from_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can start no job from"):
        poc.prepare_poc(tmp_path / name, contracts(tmp_path / "site"), POLICIES, port=8002)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["Site_1", "server"])
def test_a_name_that_is_none_for_flare_is_said_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="the sites"):
        poc.prepare_poc(tmp_path / "poc", contracts(tmp_path / "site", name), POLICIES, port=8002)
    assert not (tmp_path / "poc").exists()


def test_nothing_is_left_when_flare_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(clients: list[str], count: int, workspace: str, *rest: object, **more: object) -> None:
        (Path(workspace) / "half").write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(poc, "prepare_poc_provision", fail)
    with pytest.raises(FedginError, match="FLARE prepared no workspace: no space left"):
        poc.prepare_poc(tmp_path / "poc", contracts(tmp_path / "site"), POLICIES, port=8002)
    assert not (tmp_path / "poc").exists()
