"""Each site is left out in turn: the others train, and the network is tested at all sites."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedgin.data.datalist import Split
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.report.study_page import write_study
from fedgin.study.arm_result import run_arm
from fedgin.study.arms import FederatedArm, PooledArm
from fedgin.study.plan import load_study
from fedgin.study.planned_arm import PlannedArm, StudySites
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

SITES = {"a": "CT", "b": "MR", "c": "MR"}


def write(root: Path, sites: dict[str, str] | None = None, **changes: Any) -> Path:
    for name, modality in (sites or SITES).items():
        write_site(root / "sites" / name, name, modality, counts=(2, 1, 2), seed=ord(name))
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network"})
    stage_job(load_job(JOBS / "abdomen_fedgin"), root / "job", sites=3, rounds=9, changes=tiny)
    block = {"regimes": ["central"], "methods": ["none"], "seeds": [1], "leave_one_site_out": True}
    values = {
        "name": "tiny",
        "title": "T",
        "note": "N.",
        "sites": "sites",
        "job": "job",
        "rounds": 1,
        "settings": {"training": {"local_steps": 2, "batch_size": 2}},
        "blocks": [block | changes.pop("block", {})],
        "baseline": "central none",
    }
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def planned(root: Path, **changes: Any) -> dict[str, PlannedArm]:
    sites = StudySites(load_study(write(root, **changes)), root / "out")
    return {spec.name: sites.setting(spec) for spec in sites.arms()}


def training_patients(arm: PlannedArm) -> dict[str, int]:
    """Return how many patients each site trains with, each of one case; the one left out trains with none."""
    members = arm.arm.members(arm.sites)
    return {name: len(arm.sites[name].cases[Split.TRAINING]) for name in members}


def trained(arm: PlannedArm) -> list[str]:
    return list(arm.arm.members(arm.sites))


def test_a_ratio_is_of_the_patients_who_train(tmp_path: Path) -> None:
    sites = {"a": "CT", "b": "CT", "c": "MR", "d": "MR"}
    found = planned(tmp_path, sites=sites, block={"ct_per_mr": 1})
    assert {name.partition("-seed1")[2]: training_patients(arm) for name, arm in found.items()} == {
        "": {"a": 2, "b": 2, "c": 2, "d": 2},
        "-without-a": {"b": 2, "c": 1, "d": 1},
        "-without-b": {"a": 2, "c": 1, "d": 1},
        "-without-c": {"a": 1, "b": 1, "d": 2},
        "-without-d": {"a": 1, "b": 1, "c": 2},
    }
    whole = {name: len(site.cases[Split.TEST]) for name, site in found["central-none-1ct_per_mr-seed1"].sites.items()}
    for arm in found.values():
        assert {name: len(site.cases[Split.TEST]) for name, site in arm.sites.items()} == whole


def test_a_ratio_that_a_left_out_site_alone_makes_possible_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="without a 0 CT and 4 MR patients are too few for 1 CT for each MR"
    ) as caught:
        planned(tmp_path, block={"ct_per_mr": 1})
    assert caught.value.fix == "take 'ct_per_mr' out of the block with 'leave_one_site_out', or add patients"


def test_every_arm_is_followed_by_those_that_leave_one_of_its_sites_out(tmp_path: Path) -> None:
    block = {"regimes": ["federated", "mr_only"], "methods": ["none", "dsbn"]}
    methods = {"dsbn": {"augmentation": {"name": "none"}, "network": {"normalisation": "dsbn"}}}
    found = planned(tmp_path, block=block, methods=methods, baseline="mr_only none")
    names = [name.removeprefix("federated-none-all-seed1") for name in found if name.startswith("federated-none")]
    assert names == ["", "-without-a", "-without-b", "-without-c"]
    assert {name: trained(arm) for name, arm in found.items() if name.startswith("mr_only-none")} == {
        "mr_only-none-all-seed1": ["b", "c"],
        "mr_only-none-all-seed1-without-b": ["c"],
        "mr_only-none-all-seed1-without-c": ["b"],
    }
    assert all(list(arm.sites) == ["a", "b", "c"] for arm in found.values()), "tested everywhere"
    federated = found["federated-none-all-seed1-without-a"].arm
    assert isinstance(federated, FederatedArm)
    assert federated.job.min_clients == 2
    normalisation = {name: arm.arm.experiment.network.normalisation for name, arm in found.items()}
    assert normalisation["federated-dsbn-all-seed1-without-b"] == "dsbn"
    assert normalisation["federated-dsbn-all-seed1-without-a"] == "batch", "there is one modality left"


def test_central_training_makes_the_steps_of_the_sites_that_are_left(tmp_path: Path) -> None:
    found = planned(tmp_path)
    steps = {name: arm.arm.experiment.training.local_steps for name, arm in found.items()}
    assert list(steps.values()) == [6, 4, 4, 4]
    without_ct = found["central-none-all-seed1-without-a"].arm
    assert isinstance(without_ct, PooledArm)
    assert without_ct.modalities == ("MR",)


def test_two_sites_are_too_few_and_so_is_the_only_one_of_a_regime(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 sites take part .* too few to leave one out\. Fix: .*3 must take part"):
        planned(tmp_path / "two", sites={"a": "CT", "b": "MR"})
    with pytest.raises(ConfigError, match="3 sites take part in ct_only-none-all-seed1, 1 of them train"):
        planned(tmp_path / "three", block={"regimes": ["ct_only"]}, baseline="ct_only none")


def test_local_layers_of_a_site_that_never_trained_are_not_made_up(tmp_path: Path) -> None:
    methods = {"fedbn": {"augmentation": {"name": "none"}, "network": {"normalisation": "fedbn"}}}
    with pytest.raises(ConfigError, match=r"without-a: with FedBN .* Fix: take 'fedbn' out of the block"):
        planned(
            tmp_path,
            block={"regimes": ["federated"], "methods": ["fedbn"]},
            methods=methods,
            baseline="federated fedbn",
        )


def test_a_site_that_is_left_out_is_tested_and_reported_as_a_new_one(tmp_path: Path) -> None:
    source = write(tmp_path)
    sites = StudySites(load_study(source), tmp_path / "out")
    results = []
    for spec in sites.arms():
        setting = sites.setting(spec)
        results.append((spec, run_arm(setting.arm, setting.sites, setting.home.parent, lambda *_: None)))
    for spec, result in results:
        assert {score.site for score in result.scores} == set(SITES)
        assert {score.split for score in result.scores} == {Split.TEST}
        assert all(
            point.keys() == {"round", "CT", "MR"} - ({"CT"} if spec.without == "a" else set()) for point in result.curve
        )
    page = write_study(source, results, tmp_path / "out").read_text(encoding="utf-8")
    assert "A further centre that does not train can expect a mean Dice between" in page
    assert "central none, each site left out" in page
    assert re.findall(r"<tr><td>([abc])</td><td>central none</td>", page) == ["a", "b", "c"], "what the others lose"
    rows = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert rows[1].startswith("central-none-all-seed1,central,none,all,1,,a,CT,")
    assert any(row.startswith("central-none-all-seed1-without-c,central,none,all,1,c,c,MR,") for row in rows)
    # Nothing but a site that was left out is complete.
    page = write_study(source, results[3:], tmp_path / "out").read_text(encoding="utf-8")
    assert "3 arms of the study are not complete" in page
    assert "What a further centre can expect cannot be estimated: 1 site with patients" in page
    again = sites.setting(results[1][0])
    read = run_arm(again.arm, again.sites, again.home.parent, lambda *_: None)
    assert read.resumed
    assert read.precision == results[1][1].precision in ("float32", "bfloat16")


@pytest.mark.flare
def test_a_federation_without_a_site_is_tested_at_it(tmp_path: Path) -> None:
    name = "federated-none-all-seed1-without-c"
    setting = planned(tmp_path, block={"regimes": ["federated"]}, baseline="federated none")[name].staged()
    points: list[dict[str, float]] = []
    result = run_arm(setting.arm, setting.sites, setting.home.parent, lambda _, point: points.append(point))
    assert {score.site for score in result.scores} == set(SITES)
    assert set(result.cross_site) == {"a", "b"}
    assert [point["round"] for point in points] == [0.0, 1.0]


def test_what_only_the_left_out_site_labels_is_no_organ_of_the_arm_and_that_is_told(tmp_path: Path) -> None:
    settings = {
        "training": {"local_steps": 2, "batch_size": 2},
        "postprocessing": {"largest_region": ["spleen", "liver"]},
    }
    source = write(tmp_path, block={"regimes": ["federated", "central"]}, baseline="central none", settings=settings)
    for name in ("b", "c"):
        write_site(tmp_path / "sites" / name, name, SITES[name], counts=(2, 1, 2), labels={"liver": 1})
    told: dict[str, list[str]] = {}
    sites = StudySites(
        load_study(source), tmp_path / "out", on_untaught=lambda arm, organs: told.update({arm: [*organs]})
    )
    experiments = {spec.name: sites.setting(spec).arm.experiment for spec in sites.arms()}
    found = {name: experiment.organs for name, experiment in experiments.items()}
    without = {name for name in found if name.endswith("-without-a")}
    assert {name for name, organs in found.items() if organs == ["liver"]} == without
    assert told == {name: ["spleen"] for name in without}
    assert {name for name, experiment in experiments.items() if experiment.in_one_piece == [1]} == without
    assert all(experiment.in_one_piece == [2, 1] for name, experiment in experiments.items() if name not in without)
