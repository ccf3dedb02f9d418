from pathlib import Path

import pytest
import yaml

from fedgin.data.site import load_site
from fedgin.errors import ConfigError
from tests.sites import write_site


def rewrite(path: Path, **changes: object) -> Path:
    values = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def test_paths_of_a_loaded_site_are_absolute(tmp_path: Path) -> None:
    contract = load_site(write_site(tmp_path / "a", "site-1"))
    assert contract.data_root == (tmp_path / "a").resolve()
    assert contract.datalist.is_absolute()
    assert contract.cache_dir.is_absolute()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"modalty": "CT"}, "'modalty': unknown key"),
        ({"modality": "PET"}, "'modality'"),
        ({"modality": None}, "'modality'"),
        ({"data_root": "nowhere"}, "'data_root' is not a folder"),
        ({"datalist": "nowhere.json"}, "'datalist' is no file in data_root"),
        ({"labels": {}}, "'labels'"),
        ({"labels": {"liver": 0}}, "'labels.liver': expected an id from 1 to 255, or a list of such ids"),
        ({"labels": {"liver": "one"}}, "'labels.liver'"),
        ({"labels": {"liver": [2] * 256}}, "'labels.liver'"),
        ({"labels": {"liver": 1, "spleen": 1}}, "label id 1 is given to more than one organ"),
        ({"labels": {"liver": 1, "kidneys": [2, 1]}}, "label id 1 is given to more than one organ"),
        ({"labels": {"kidneys": [2, 2]}}, "label id 2 is given to more than one organ, or twice to one"),
        ({"labels": {"kidneys": []}}, "'labels.kidneys'"),
        ({"labels": {"kidneys": [2, 256]}}, "'labels.kidneys'"),
        ({"labels": {"kidneys": {"left": 2}}}, "'labels.kidneys'"),
        ({"labels": {"Liver!": 1}}, "labels.Liver!"),
        ({"ignore": "all"}, "'ignore': expected a list of ids such as [4, 5], or others"),
        ({"ignore": [0]}, "'ignore'"),
        ({"ignore": [1.5]}, "'ignore'"),
        ({"ignore": [4, 1]}, "label id 1 is both in 'labels' and in 'ignore'"),
        ({"device": "gpu"}, "'device'"),
        ({"site": "../etc"}, "'site'"),
        ({"limits": {"cpu_threads": 0}}, "'limits.cpu_threads'"),
    ],
)
def test_a_wrong_contract_names_file_key_and_fix(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    path = rewrite(write_site(tmp_path, "site-1"), **changes)
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    assert named in str(caught.value)
    assert "site.yaml" in str(caught.value)
    assert "Fix: " in str(caught.value)


@pytest.mark.parametrize(("written", "read"), [(4, (4,)), ([4, 5], (4, 5)), ("others", "others"), ([], ())])
def test_ids_to_ignore_are_some_or_all_others(tmp_path: Path, written: object, read: object) -> None:
    assert load_site(rewrite(write_site(tmp_path, "site-1"), ignore=written)).ignore == read


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "!!python/object:os.system {}", "\x00", "a: &x [*x]"])
def test_text_that_is_no_plain_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_site(path)


def test_a_missing_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_site(tmp_path / "site.yaml")
