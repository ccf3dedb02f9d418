"""Every format that can be imported: its miniature becomes sites that validate and train."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch

from fedgin.cli.site_import import import_
from fedgin.data.datalist import Split, read_datalist
from fedgin.data.dicom.rules import SplitRules
from fedgin.data.importers.archive_site import write_archive_sites
from fedgin.data.importers.readers import READERS
from fedgin.data.prepare import prepare_site
from fedgin.data.site import load_site
from fedgin.data.validation import Severity, validate_site
from fedgin.train.batches import RoundPlan
from fedgin.train.trainer import Trainer
from tests.data.importers.miniature_archives import (
    write_amos22,
    write_btcv,
    write_chaos,
    write_decathlon,
    write_mmwhs,
    write_nnunet,
    write_totalsegmentator,
)
from tests.sites import tiny_experiment

# Two patients validate and one is tested, so that three and more train.
ENOUGH = range(1, 7)
ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "amos22": lambda at: write_amos22(at, [1, 2, 3, 4, 501, 502, 503, 504], [9, 10, 509, 510], [11]),
    "btcv": lambda at: write_btcv(at, ENOUGH, [61]),
    "chaos": lambda at: write_chaos(at, [1, 2, 5, 6, 8, 10], [1, 2, 3, 5]),
    "decathlon": lambda at: write_decathlon(at / "Task99_Abdomen", ENOUGH, [8, 9]),
    "mmwhs": lambda at: write_mmwhs(at, range(1001, 1007), [2001]),
    "nnunet": lambda at: write_nnunet(at / "Dataset099_Abdomen", [f"mr_{one}" for one in ENOUGH], {"mr_9": False}),
    "totalsegmentator": lambda at: write_totalsegmentator(
        at, {f"s{number:04}": split for number, split in enumerate(("train", "train", "train", "val", "val", "test"))}
    ),
}
EXPERIMENT = tiny_experiment(organs=["liver", "spleen", "right_ventricle", "left_atrium"])


def test_the_command_offers_every_format() -> None:
    offered = get_args(get_args(get_type_hints(import_, include_extras=True)["archive_format"])[0])
    assert sorted(offered) == sorted(READERS) == sorted(ARCHIVES)


@pytest.mark.parametrize("name", READERS)
def test_an_archive_is_imported_and_found_right_and_trains(tmp_path: Path, name: str) -> None:
    source = ARCHIVES[name](tmp_path / "archive")
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    sites = write_archive_sites(READERS[name](source), tmp_path / "sites", SplitRules(validation=2, test=1))
    for site in sites:
        contract = load_site(site.contract)
        found = validate_site(contract).findings
        assert [finding for finding in found if finding.severity is not Severity.PASS] == []
        data = prepare_site(contract, EXPERIMENT.preprocessing, EXPERIMENT.organs)
        trainer = Trainer(EXPERIMENT.initial_network(), EXPERIMENT, torch.device("cpu"))
        assert trainer.train_round(data.cases[Split.TRAINING], RoundPlan(contract.site, 0, 1)).steps == 2
        lists = [{entry.patient for entry in read_datalist(contract.datalist).entries(split)} for split in Split]
        assert len(set[str | None]().union(*lists)) == sum(map(len, lists)), "a patient is in one split only"
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before, "the archive stays as it is"
