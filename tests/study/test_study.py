"""A whole study on tiny sites with real processes: interrupted, continued, reported, damaged and refused."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.report.study_page import COLUMNS, write_study
from fedgin.study.listener import Point
from fedgin.study.plan import ArmSpec
from fedgin.study.runner import StudyError, run_study
from tests.places import JOBS
from tests.sites import ORGANS, tiny_experiment, write_site

JOB = JOBS / "abdomen_fedgin"


class Events:
    """Notes what happens; interrupts the study at the first round of an arm if asked."""

    def __init__(self, interrupt: bool = False) -> None:
        self.interrupt = interrupt
        self.complete = -1
        self.begun: list[str] = []
        self.rounds: list[str] = []
        self.problems: list[str] = []

    def preparing(self, site: str, done: int, total: int) -> None: ...

    def left_out(self, site: str, organs: Sequence[str]) -> None: ...

    def untaught(self, arm: str, organs: Sequence[str]) -> None: ...

    def planned(self, arms: int, complete: int) -> None:
        self.complete = complete

    def elsewhere(self, spec: ArmSpec, machine: str) -> None: ...

    def started(self, spec: ArmSpec) -> None:
        self.begun.append(spec.name)

    def round_done(self, spec: ArmSpec, point: Point, rounds: int) -> None:
        self.rounds.append(spec.name)
        if self.interrupt:
            raise KeyboardInterrupt

    def ended(self, spec: ArmSpec, seconds: float, left: float, problem: str) -> None:
        if problem:
            self.problems.append(problem)


def write(root: Path, **changes: Any) -> Path:
    for name, modality in (("a", "CT"), ("b", "MR")):
        write_site(root / "sites" / name, name, modality, seed=ord(name))
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network"})
    stage_job(load_job(JOB), root / "job", sites=2, rounds=9, changes=tiny)
    values = {
        "name": "tiny",
        "title": "Title <x>",
        "note": "A note.",
        "sites": "sites",
        "job": "job",
        "rounds": 2,
        "settings": {"training": {"local_steps": 2, "batch_size": 4}},
        "methods": {"gin": {"augmentation": {"name": "gin"}}},
        "blocks": [
            {"regimes": ["mr_only", "central"], "methods": ["none"], "seeds": [1]},
            {"regimes": ["federated"], "methods": ["gin"], "seeds": [1]},
        ],
    }
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


@pytest.mark.flare
def test_a_study_is_interrupted_continued_and_reported(tmp_path: Path) -> None:
    source, out = write(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_study(source, out, Events(interrupt=True), cores=1)
    workers = [child for child in psutil.Process().children() if "fedgin.study.arm_worker" in " ".join(child.cmdline())]
    assert workers == [], "an interrupted study leaves no process behind"

    again = Events()
    results = run_study(source, out, again, cores=2)
    assert [spec.name for spec, _ in results] == [
        "mr_only-none-all-seed1",
        "central-none-all-seed1",
        "federated-gin-all-seed1",
    ]
    assert again.rounds.count("federated-gin-all-seed1") == 3, "the initial network, that after each round"
    check_files(source, results, out)

    third = Events()
    (out / "arms" / "central-none-all-seed1" / "result.json").unlink()
    run_study(source, out, third, cores=2)
    assert third.complete == 2
    assert third.begun == ["central-none-all-seed1"], "complete arms are not run again"


def check_files(source: Path, results: Any, out: Path) -> None:
    page = write_study(source, results, out).read_text(encoding="utf-8")
    assert "Title &lt;x&gt;" in page
    assert page.count("<svg") == 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", page), "the page must work offline"
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 3 * 2 * len(ORGANS), "three arms, a test case of each site, every organ"
    assert all(0.0 <= float(row["dice"]) <= 1.0 and float(row["hd95_mm"]) >= 0.0 for row in rows)
    assert {row["patients"] for row in rows} == {"all"}
    tables = (out / "tables.md").read_text(encoding="utf-8")
    assert "## Mean Dice" in tables
    with Image.open(out / "pictures" / "curves.png") as picture:
        assert picture.width > 2 * picture.height, "CT beside MR"
    assert "| gin |" in tables


def test_the_verb_names_what_is_wrong_with_a_plan(tmp_path: Path) -> None:
    source = write(tmp_path, baseline="central gin")
    found = CliRunner().invoke(app, ["study", str(source), "--out", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert "central gin" in str(found.exception)


def test_some_arms_are_run_alone_and_one_that_fails_is_loud_and_costs_no_other_one(tmp_path: Path) -> None:
    blocks = [{"regimes": ["mr_only", "central"], "methods": ["none"], "seeds": [1]}]
    source, out, events = write(tmp_path, blocks=blocks), tmp_path / "out", Events()
    with pytest.raises(ConfigError, match=r"unknown arm 'central-none'\. Fix: did you mean 'central-none-all-seed1'\?"):
        run_study(source, out, events, cores=1, only=["central-none"])
    results = run_study(source, out, events, cores=1, only=["mr_only-none-all-seed1"])
    assert events.begun == [spec.name for spec, _ in results] == ["mr_only-none-all-seed1"]
    page = write_study(source, results, out).read_text(encoding="utf-8")
    assert "1 arm of the study is not complete and not in here." in page

    (out / "arms" / "central-none-all-seed1").mkdir()
    (out / "arms" / "central-none-all-seed1" / "thesis.doc").touch()
    with pytest.raises(StudyError, match=r"central-none-all-seed1: .* holds files that fedgin did not write"):
        run_study(source, out, events, cores=2)
    assert events.complete == 1
    assert len(events.problems) == 1
