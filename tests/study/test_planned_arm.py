from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fedgin.data.datalist import Split
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.study.arm_result import run_arm
from fedgin.study.arms import FederatedArm, PooledArm
from fedgin.study.plan import Study
from fedgin.study.planned_arm import PlannedArm, StudySites
from fedgin.study.workload import steps_of_arm
from fedgin.train.geometry import GeometricAugmentation
from tests.places import JOBS
from tests.sites import tiny_experiment, write_site

JOB = JOBS / "abdomen_fedgin"


def make_study(root: Path, **changes: Any) -> Study:
    tiny = tiny_experiment().model_dump(mode="json", include={"organs", "preprocessing", "network"})
    tiny["augmentation"] = {"name": "rcnet", "params": {"padding": "zeros"}, "quality": True}
    stage_job(load_job(JOB), root / "job", sites=3, rounds=9, changes=tiny)
    values = {
        "name": "tiny",
        "title": "t",
        "note": "n",
        "sites": root / "sites",
        "job": root / "job",
        "rounds": 3,
        "settings": {"training": {"local_steps": 2, "batch_size": 4}},
        "methods": {"dsbn": {"augmentation": {"name": "none"}, "network": {"normalisation": "dsbn"}}},
        "blocks": [
            {
                "regimes": ["mr_only", "ct_only", "central", "federated"],
                "methods": ["none", "gin", "dsbn"],
                "seeds": [5],
            }
        ],
    } | changes
    return Study.model_validate(values)


def settings(root: Path, **changes: Any) -> dict[str, PlannedArm]:
    for name, modality in (("a", "CT"), ("b", "MR")):
        write_site(root / "sites" / name, name, modality, counts=(2, 1, 1))
    study = make_study(root, **changes)
    sites = StudySites(study, root / "out")
    return {spec.name: sites.setting(spec) for spec in study.arms()}


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PlannedArm]:
    return settings(tmp_path_factory.mktemp("study"))


def test_every_regime_makes_as_many_steps_as_its_sites_would(found: dict[str, PlannedArm]) -> None:
    steps = {name.split("-")[0]: item.arm.experiment.training.local_steps for name, item in found.items()}
    assert steps == {"mr_only": 2, "ct_only": 2, "central": 4, "federated": 2}
    assert {item.arm.rounds for item in found.values()} == {3}


def test_epochs_are_of_each_site_and_of_the_pool_and_known_to_the_progress(tmp_path: Path) -> None:
    block = {"regimes": ["mr_only", "central", "federated"], "methods": ["none"], "seeds": [1]}
    found = settings(tmp_path, blocks=[block], settings={"training": {"local_epochs": 1, "batch_size": 5}})
    steps = {name.split("-")[0]: steps_of_arm(item) for name, item in found.items()}
    # Three rounds; twelve slices are three batches at each of two sites, and 24 are five.
    assert steps == {"mr_only": 9, "central": 15, "federated": 18}
    assert {item.arm.experiment.training.local_epochs for item in found.values()} == {1}


def test_a_site_with_test_cases_alone_is_tested_and_never_trains(tmp_path: Path) -> None:
    write_site(tmp_path / "sites" / "c", "c", "MR", counts=(0, 0, 2))
    blocks = [
        {"regimes": ["mr_only", "central", "federated"], "methods": ["none"], "seeds": [1], "organs": ["spleen"]},
        {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1], "ct_per_mr": 1},
    ]
    found = settings(tmp_path, blocks=blocks)
    for item in found.values():
        assert set(item.sites) == {"a", "b", "c"}
        assert "c" not in item.arm.members(item.sites)
    federated = found["federated-none-all_spleen-seed1"].arm
    assert isinstance(federated, FederatedArm)
    assert (federated.job.min_clients, federated.experiment.organs) == (2, ["spleen"])
    assert found["central-none-all_spleen-seed1"].arm.experiment.training.steps == 2 * 2
    alone = found["mr_only-none-1ct_per_mr-seed1"]
    outcome = run_arm(alone.arm, alone.sites, tmp_path / "arms", lambda *_: None)
    assert {score.site for score in outcome.scores} == {"a", "b", "c"}
    with pytest.raises(ConfigError, match="FedBN c, which has test cases alone"):
        settings(tmp_path, blocks=blocks, settings={"network": {"normalisation": "fedbn"}})


def test_all_sites_are_needed_in_every_round(found: dict[str, PlannedArm]) -> None:
    arm = found["federated-gin-all-seed5"].arm
    assert isinstance(arm, FederatedArm)
    assert arm.job.min_clients == 2


def test_a_method_does_not_inherit_the_jobs_parameters(found: dict[str, PlannedArm]) -> None:
    augmentation = found["central-gin-all-seed5"].arm.experiment.augmentation
    assert (augmentation.params, augmentation.quality) == ({}, False)
    assert found["central-none-all-seed5"].arm.experiment.augmentation.name == "none"


@pytest.mark.parametrize("in_settings", [False, True])
def test_a_method_that_would_silently_have_its_defaults_is_refused(tmp_path: Path, in_settings: bool) -> None:
    """The job, or the study's settings, say what they mean by RCNet; the method of that name is not listed."""
    blocks = [{"regimes": ["mr_only"], "methods": ["rcnet"], "seeds": [5]}]
    common = {"augmentation": {"name": "rcnet", "params": {"background": "keep"}}} if in_settings else {}
    with pytest.raises(ConfigError, match="method 'rcnet' is not listed") as caught:
        settings(tmp_path, blocks=blocks, settings=common, baseline="mr_only rcnet")
    meant = '"background": "keep"' if in_settings else '"padding": "zeros"'
    assert f"""'rcnet: {{augmentation: {{"name": "rcnet", "params": {{{meant}}}""" in str(caught.value)


def test_a_method_that_names_an_augmentation_has_nothing_of_that_of_the_settings(tmp_path: Path) -> None:
    common = {"augmentation": {"name": "gin", "probability": 0.5, "params": {"layers": 3}}}
    deeper, other = {"augmentation": {"params": {"layers": 5}}}, {"augmentation": {"name": "fmaug"}}
    methods = {"ours": {}, "deeper": deeper, "other": other, "gin": {"augmentation": {"name": "gin"}}}
    blocks = [{"regimes": ["mr_only"], "methods": list(methods), "seeds": [5]}]
    found = settings(tmp_path, settings=common, methods=methods, blocks=blocks, baseline="mr_only gin")
    used = {item.spec.method: item.arm.experiment.augmentation for item in found.values()}
    assert {name: each.params for name, each in used.items()} == {
        "ours": {"layers": 3},
        "deeper": {"layers": 5},
        "other": {},
        "gin": {},
    }
    assert {name: set(each.probability.values()) for name, each in used.items()} == {
        "ours": {0.5},
        "deeper": {0.5},
        "other": {1.0},
        "gin": {1.0},
    }


def test_seed_and_settings_reach_every_arm(found: dict[str, PlannedArm]) -> None:
    for item in found.values():
        assert item.arm.experiment.seed == 5
        assert item.arm.experiment.training.batch_size == 4


def test_with_one_modality_dsbn_is_batchnorm(found: dict[str, PlannedArm]) -> None:
    normalisation = {name: item.arm.experiment.network.normalisation for name, item in found.items()}
    assert normalisation["mr_only-dsbn-all-seed5"] == "batch"
    assert normalisation["central-dsbn-all-seed5"] == "dsbn"
    assert normalisation["federated-dsbn-all-seed5"] == "dsbn"


def test_every_site_computes_with_one_thread_whatever_it_and_the_machine_have(tmp_path: Path) -> None:
    for name, modality, limits in (("a", "CT", {}), ("b", "MR", {"cpu_threads": 2, "gpu_memory_fraction": 0.5})):
        path = write_site(tmp_path / "sites" / name, name, modality)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"limits": limits}))
    block = {"regimes": ["central", "federated"], "methods": ["none"], "seeds": [1]}
    study = make_study(tmp_path, blocks=[block], baseline="central none")
    sites = StudySites(study, tmp_path / "out")
    for spec in study.arms():
        found = {name: site.contract.limits for name, site in sites.setting(spec).sites.items()}
        assert {name: item.cpu_threads for name, item in found.items()} == {"a": 1, "b": 1}
        assert found["b"].gpu_memory_fraction == 0.5


def three_sites(root: Path, mr_labels: dict[str, int]) -> None:
    write_site(root / "sites" / "a", "a", "CT", counts=(3, 1, 1))
    write_site(root / "sites" / "b", "b", "CT", counts=(3, 1, 1), labels={"liver": 7})
    write_site(root / "sites" / "c", "c", "MR", labels=mr_labels)


def test_a_site_without_an_arms_organ_takes_no_part_in_it(tmp_path: Path) -> None:
    three_sites(tmp_path, {"spleen": 4})
    block = {"regimes": ["central", "federated"], "methods": ["none", "both"], "seeds": [1]}
    study = make_study(
        tmp_path,
        blocks=[block | {"training_patients": {"CT": 3}}],
        settings={"organs": ["spleen"], "training": {"local_steps": 2}},
        methods={"both": {"augmentation": {"name": "none"}, "organs": ["liver", "spleen"]}},
        baseline="central none",
    )
    told: list[tuple[str, list[str]]] = []
    sites = StudySites(study, tmp_path / "out", on_left_out=lambda site, organs: told.append((site, list(organs))))
    found = {f"{spec.regime} {spec.method}": sites.setting(spec) for spec in study.arms()}
    assert {name: list(item.sites) for name, item in found.items()} == {
        "central none": ["a", "c"],
        "central both": ["a", "b", "c"],
        "federated none": ["a", "c"],
        "federated both": ["a", "b", "c"],
    }
    assert told == [("b", ["spleen"])]
    federated, central = found["federated none"].arm, found["central none"].arm
    assert isinstance(federated, FederatedArm)
    assert federated.job.min_clients == 2
    assert central.experiment.training.local_steps == 2 * 2
    training = {name: len(site.cases[Split.TRAINING]) for name, site in found["central none"].sites.items()}
    assert training == {"a": 3, "c": 2}, "the patients are shared among those who take part"
    training = {name: len(site.cases[Split.TRAINING]) for name, site in found["central both"].sites.items()}
    assert training == {"a": 2, "b": 1, "c": 2}


def test_an_organ_that_a_whole_modality_lacks_is_refused_with_what_it_has(tmp_path: Path) -> None:
    three_sites(tmp_path, {"liver": 4})
    block = {"regimes": ["central"], "methods": ["none"], "seeds": [1]}
    study = make_study(tmp_path, blocks=[block], settings={"organs": ["spleen"]}, baseline="central none")
    with pytest.raises(ConfigError, match=r"no MR site labels spleen\. Fix: .*: liver \[FG-010\]$"):
        StudySites(study, tmp_path / "out").setting(study.arms()[0])


def test_an_arm_of_one_organ_keeps_in_one_piece_what_it_segments_alone(tmp_path: Path) -> None:
    three_sites(tmp_path, {"liver": 4, "spleen": 5})
    block = {"regimes": ["central"], "methods": ["none"], "seeds": [1]}
    for settings, kept in (
        ({"organs": ["spleen"]}, []),  # of what the job keeps
        ({"postprocessing": {"largest_region": ["liver", "spleen"]}}, [1]),
    ):
        organs = {} if "organs" in settings else {"organs": ["spleen"]}
        study = make_study(tmp_path, blocks=[block | organs], settings=settings, baseline="central none")
        job = tmp_path / "job" / "app" / "config" / "experiment.yaml"
        job.write_text(
            yaml.safe_dump(yaml.safe_load(job.read_text()) | {"postprocessing": {"largest_region": ["liver"]}})
        )
        [spec] = study.arms()
        experiment = StudySites(study, tmp_path / "out").setting(spec).arm.experiment
        assert experiment.organs == ["spleen"]
        assert experiment.in_one_piece == kept


@pytest.mark.parametrize("organs", ["liver", {"liver": 1}, None, [1], []])
def test_organs_that_are_no_list_of_names_are_refused(tmp_path: Path, organs: object) -> None:
    three_sites(tmp_path, {"liver": 4})
    study = make_study(tmp_path, settings={"organs": organs})
    with pytest.raises(ConfigError, match="'organs"):
        StudySites(study, tmp_path / "out").setting(study.arms()[0])


def test_an_arm_s_organ_may_be_one_that_only_the_study_names(tmp_path: Path) -> None:
    three_sites(tmp_path, {"liver": 4, "spleen": 5})
    block = {"regimes": ["central"], "methods": ["none"], "seeds": [1], "organs": ["spleen"]}
    settings = {"organs": ["liver"], "postprocessing": {"largest_region": ["spleen"]}}
    study = make_study(tmp_path, blocks=[block], settings=settings, baseline="central none")
    experiment = StudySites(study, tmp_path / "out").setting(study.arms()[0]).arm.experiment
    assert (experiment.organs, experiment.in_one_piece) == (["spleen"], [1])


def test_arms_start_from_their_seeds_alone(tmp_path: Path) -> None:
    three_sites(tmp_path, {"liver": 4})
    study = make_study(tmp_path, settings={"network": {"pretrained": {"file": "x.safetensors", "sha256": "0" * 64}}})
    with pytest.raises(ConfigError, match="the arms of a study start from their seeds"):
        StudySites(study, tmp_path / "out").setting(study.arms()[0])


def test_sites_are_prepared_once_for_all_arms(found: dict[str, PlannedArm]) -> None:
    assert len({id(item.sites) for item in found.values()}) == 1


def test_a_pooled_arm_validates_as_often_as_asked(tmp_path: Path) -> None:
    block = {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1]}
    item = next(iter(settings(tmp_path, blocks=[block], rounds=5, validate_every=2).values()))
    assert isinstance(item.arm, PooledArm)
    outcome = item.arm.train(item.sites, tmp_path / "arm", lambda point: None)
    assert [point["round"] for point in outcome.curve] == [2.0, 4.0, 5.0]


@pytest.mark.parametrize("regime", ["mr_only", "central"])
def test_methods_of_one_regime_and_seed_see_the_same_slices(
    found: dict[str, PlannedArm], regime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = GeometricAugmentation.apply
    drawn: list[torch.Tensor] = []
    seeds: list[int] = []

    def record(*parts: Any) -> tuple[torch.Tensor, ...]:
        changed = apply(*parts)
        drawn.append(changed[0])
        seeds.append(torch.initial_seed())  # of dropout
        return changed

    monkeypatch.setattr(GeometricAugmentation, "apply", staticmethod(record))
    for method in ("none", "gin"):
        item = found[f"{regime}-{method}-all-seed5"]
        item.arm.train(item.sites, tmp_path / method, lambda point: None)
    half = len(drawn) // 2
    assert half == item.arm.rounds * item.arm.experiment.training.steps
    assert all(map(torch.equal, drawn[:half], drawn[half:]))
    assert seeds[:half] == seeds[half:]
    assert not any(map(torch.equal, drawn, drawn[1:half])), "every step draws anew"
