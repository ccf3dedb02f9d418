"""The whole demonstration on tiny sites, with real FLARE processes."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import yaml

from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.folders import FolderError
from fedgin.phantoms.task import Task
from fedgin.report.comparison_page import write_comparison
from fedgin.study.arms import Arm
from fedgin.study.demo import DemoPlan, Pace, make_arms, run_demo, shipped_jobs
from fedgin.study.planned_arm import find_cross_modality_sites
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site


class Events:
    def __init__(self, stop_in: str | None = None) -> None:
        self.seen: list[str] = []
        self.stop_in = stop_in

    def preparing(self, site: str, done: int, total: int) -> None: ...

    def arm_started(self, arm: Arm) -> None:
        self.seen.append(f"start {arm.name}")
        if arm.name == self.stop_in:
            raise KeyboardInterrupt

    def round_done(self, arm: Arm, point: dict[str, float], left: float) -> None:
        self.seen.append(f"round {arm.name}")

    def arm_done(self, arm: Arm, *, resumed: bool) -> None:
        self.seen.append(f"{'kept' if resumed else 'done'} {arm.name}")


def make_plan(root: Path) -> DemoPlan:
    for name, modality in (("a", "CT"), ("b", "MR")):
        write_site(root / "sites" / name, name, modality, seed=ord(name))
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network"})
    for name in ("abdomen_fedavg", "abdomen_fedgin"):
        stage_job(load_job(JOBS / name), root / "jobs" / name, sites=2, rounds=1, changes=tiny)
    return DemoPlan(root / "sites", Task.ABDOMEN, root / "jobs", root / "out", 2, 2, 4, 42, "Title <x>", "A note.")


@pytest.mark.flare
def test_a_stopped_demonstration_continues_and_reports(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    first = Events(stop_in="fedavg")
    with pytest.raises(KeyboardInterrupt):
        run_demo(plan, first)
    alone = ("mr_only", "ct_only", "ct_only_gin")
    assert first.seen == [
        event for arm in alone for event in (f"start {arm}", f"round {arm}", f"round {arm}", f"done {arm}")
    ] + ["start fedavg"]
    second = Events()
    page = write_comparison(tmp_path / "report.html", run_demo(plan, second)).read_text(encoding="utf-8")
    assert "kept mr_only" in second.seen
    assert second.seen.count("round fedgin") == 3, "the initial network, that after each round"
    for title in ("MR only", "CT only, GIN", "FedAvg", "FedGIN"):
        assert title in page
    assert page.count("data:image/jpeg;base64,") == 2 * (2 + 5 + 4), "image, reference, arms and draws of two cases"
    assert page.count("<svg") == 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", page), "the page must work offline"
    assert "Title &lt;x&gt;" in page
    check_kept_and_changed(plan)


def check_kept_and_changed(plan: DemoPlan) -> None:
    """A third run trains nothing; after a change of data the results of others are not trained over."""
    third = Events()
    run_demo(plan, third)
    assert [event for event in third.seen if event.startswith("round")] == []
    datalist = plan.sites / "b" / "datalist.json"
    splits = json.loads(datalist.read_text())
    splits["training"] = splits["training"][:1]
    datalist.write_text(json.dumps(splits))
    fourth = Events()
    with pytest.raises(FolderError, match=r"arms/mr_only holds results of other settings or data\. Fix: give another"):
        run_demo(plan, fourth)
    assert fourth.seen == ["start mr_only"]
    assert (plan.out / "arms" / "mr_only" / "result.json").is_file()


@pytest.mark.parametrize(("task", "volumes"), [(Task.ABDOMEN, False), (Task.HEART, False), (Task.ABDOMEN, True)])
def test_the_arms_of_a_task_are_its_jobs(tmp_path: Path, task: Task, volumes: bool) -> None:
    plan = DemoPlan(tmp_path, task, JOBS, tmp_path / "out", 2, 3, 4, 42, "Title", "A note.", volumes)
    experiments = [arm.experiment for arm in make_arms(plan, 3)]
    axes = "_3d" if volumes else ""
    assert [each.name for each in experiments] == [
        f"{task}_{job}{axes}" for job in ("fedavg", "fedavg", "fedgin", "fedavg", "fedgin")
    ]
    assert [each.augmentation.name for each in experiments] == ["none", "none", "gin", "none", "gin"]
    fedgin = load_job(JOBS / f"{task}_fedgin{axes}").experiment
    assert {tuple(each.organs) for each in experiments} == {tuple(fedgin.organs)}
    assert {each.spatial_dims for each in experiments} == {fedgin.spatial_dims} == {3 if volumes else 2}
    assert {each.training.local_steps for each in experiments} == {3}
    assert {each.training.amp for each in experiments} == {volumes}, (
        "slices are computed in float32, as the shipped table was"
    )
    assert experiments[0].augmentation.params == {}, "plain FedAvg has none of GIN's parameters"


def test_a_task_without_a_job_for_volumes_is_told_so(tmp_path: Path) -> None:
    plan = DemoPlan(tmp_path, Task.HEART, JOBS, tmp_path / "out", 2, 3, 4, 42, "Title", "A note.", volumes=True)
    with pytest.raises(ConfigError, match="heart_fedgin_3d"):
        make_arms(plan, 3)


def test_an_organ_that_no_site_labels_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    plan, events = make_plan(tmp_path), Events()
    for name in ("abdomen_fedavg", "abdomen_fedgin"):
        path = plan.jobs / name / "app" / "config" / "experiment.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"organs": ["liver", "pancreas"]}))
    with pytest.raises(ConfigError, match=r"^no site labels 'pancreas'\. Fix: the sites label liver"):
        run_demo(plan, events)
    assert events.seen == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("one", "holds one site only"),
        ("names", "more than one site under .* is called a"),
        ("modality", "no site under .* is MR"),
    ],
)
def test_sites_that_cannot_be_compared_are_named(tmp_path: Path, change: str, named: str) -> None:
    write_site(tmp_path / "a", "a", "CT")
    path = write_site(tmp_path / "b", "b", "CT" if change == "modality" else "MR")
    if change == "one":
        shutil.rmtree(tmp_path / "b")
    if change == "names":
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"site": "a"}))
    with pytest.raises(ConfigError, match=named):
        find_cross_modality_sites(tmp_path)


def test_the_time_that_is_left_is_of_all_arms(tmp_path: Path) -> None:
    """Three sites that share the cores need three times as long as one; what an earlier run did took no time."""
    now = [0.0]
    plan = DemoPlan(tmp_path, Task.ABDOMEN, JOBS, tmp_path / "out", 10, 3, 4, 42, "Title", "A note.")
    arms = make_arms(plan, 3)
    pace = Pace(arms, 3, lambda: now[0])
    pace.start(arms[0])
    assert math.isnan(pace.left(0))
    pace.end(resumed=True)
    pace.start(arms[1])
    now[0] = 1.0
    assert pace.left(1) == pytest.approx(9.0 + 10 + 30 + 30)
    now[0] = 5.0
    assert pace.left(5) == pytest.approx(5.0 + 10 + 30 + 30)
    now[0] = 10.0
    pace.end(resumed=False)
    pace.start(arms[2])
    assert pace.left(0) == pytest.approx(10 + 30 + 30)


def test_rounds_of_an_arm_that_continues_took_no_time_of_this_run(tmp_path: Path) -> None:
    """Two rounds of ten were done; each of the others takes 10 s."""
    now = [0.0]
    plan = DemoPlan(tmp_path, Task.ABDOMEN, JOBS, tmp_path / "out", 10, 3, 4, 42, "Title", "A note.")
    arms = make_arms(plan, 3)[:3]
    pace = Pace(arms, 3, lambda: now[0])
    pace.start(arms[0])
    now[0] = 10.0
    assert pace.left(3) == pytest.approx(70 + 100 + 100)
    now[0] = 80.0
    assert pace.left(10) == pytest.approx(100 + 100)
    pace.end(resumed=False)
    pace.start(arms[1])
    assert pace.left(0) == pytest.approx(100 + 100)
    pace.end(resumed=False)


def test_the_shipped_jobs_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped_jobs() == JOBS
