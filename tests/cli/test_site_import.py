"""``fedgin site import`` says what it made and what comes next."""

from pathlib import Path

from typer.testing import CliRunner, Result

from fedgin.cli.site import site_app
from fedgin.data.datalist import read_datalist
from fedgin.data.site import load_site
from fedgin.data.sites import find_sites
from tests.data.importers.miniature_archives import write_amos22, write_btcv


def bring_in(*arguments: object) -> Result:
    return CliRunner().invoke(site_app, ["import", *map(str, arguments)])


def test_it_says_what_is_in_the_sites_and_what_is_not(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2, 3], [9], [11, 12])
    result = bring_in("amos22", source, tmp_path / "sites", "--seed", 7)
    assert result.exit_code == 0, result.output
    contract = tmp_path / "sites" / "amos22-ct" / "site.yaml"
    for line in (
        "amos22-ct: 2 organs",
        "training       2 cases",
        "validation     1 cases",
        "test           1 cases, drawn by seed 7",
        "Note: 2 images have no label and are left out",
        f"Next: fedgin site validate {contract}",
        f"Look at: {contract.with_name('labels.html')}",
    ):
        assert line in result.output
    assert load_site(contract).site == "amos22-ct"


def test_splits_are_taken_from_a_file_and_absent_cases_told(tmp_path: Path) -> None:
    source = write_btcv(tmp_path / "btcv", [1, 2, 3])
    splits = tmp_path / "mine.json"
    splits.write_text('{"0001": "training", "0002": "validation", "0003": "test"}')
    result = bring_in("btcv", source, tmp_path / "sites", "--splits", splits)
    assert result.exit_code == 0, result.output
    assert "test           1 cases\n" in result.output
    assert "Note: 27 of the published cases are not there: 0004, 0005" in result.output
    assert "and 7 more" in result.output
    splits.write_text('{"0001": "tuning"}')
    assert "does not say who is in which split" in str(
        bring_in("btcv", source, tmp_path / "more", "--splits", splits).exception
    )


def test_several_archives_may_become_sites_in_one_folder(tmp_path: Path) -> None:
    for name, source in (
        ("amos22", write_amos22(tmp_path / "amos22", [1, 2, 501, 502], [], [])),
        ("btcv", write_btcv(tmp_path / "btcv", [1, 2])),
    ):
        assert bring_in(name, source, tmp_path / "sites").exit_code == 0
    assert [contract.site for contract in find_sites(tmp_path / "sites")] == ["amos22-ct", "amos22-mr", "btcv-ct"]


def test_a_site_may_be_tested_alone(tmp_path: Path) -> None:
    source = write_amos22(tmp_path / "amos22", [1, 2], [9], [])
    result = bring_in("amos22", source, tmp_path / "sites", "--test-only")
    assert "test           3 cases\n" in result.output
    assert "training       0 cases\n" in result.output
    datalist = read_datalist(tmp_path / "sites" / "amos22-ct" / "datalist.json")
    assert (len(datalist.training), len(datalist.validation), len(datalist.test)) == (0, 0, 3)
    both = bring_in("amos22", source, tmp_path / "more", "--test-only", "--splits", tmp_path / "none.json")
    assert "say two things" in str(both.exception)


def test_a_format_or_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "'amos22'" in bring_in("amos", tmp_path, tmp_path / "sites").output
    assert "SOURCE is no folder" in str(bring_in("amos22", tmp_path / "none", tmp_path / "sites").exception)
    assert not (tmp_path / "sites").exists()
