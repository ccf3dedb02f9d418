from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fedgin.data.site import Modality
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job
from fedgin.study.plan import Regime, Study, load_study
from fedgin.train.experiment import Experiment, with_changes
from tests.places import ROOT


def values(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "note": "A note.",
        "sites": "sites",
        "job": "job",
        "rounds": 2,
        "methods": {"dsbn": {"augmentation": {"name": "none"}, "network": {"normalisation": "dsbn"}}},
        "blocks": [{"regimes": ["mr_only", "federated"], "methods": ["none", "gin"], "seeds": [1, 2]}],
    }
    return base | changes


def write(folder: Path, **changes: Any) -> Path:
    (folder / "sites").mkdir()
    (folder / "job").mkdir()
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values(**changes)))
    return path


def test_a_block_is_every_combination() -> None:
    arms = Study.model_validate(values()).arms()
    assert len(arms) == len({arm.name for arm in arms}) == 8
    assert arms[0].name == "mr_only-none-all-seed1"


def test_an_arm_of_two_blocks_is_run_once() -> None:
    block = {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1]}
    assert len(Study.model_validate(values(blocks=[block, block])).arms()) == 1


def test_scarcity_is_part_of_the_name() -> None:
    block = {"regimes": ["mr_only"], "methods": ["none"], "seeds": [1], "training_patients": {"MR": 2, "CT": 10}}
    arm = Study.model_validate(values(blocks=[block])).arms()[0]
    assert str(arm.population) == "10ct_2mr"
    assert dict(arm.training_patients) == {Modality.CT: 10, Modality.MR: 2}


def test_a_network_for_each_organ_and_a_ratio_are_populations_of_their_own() -> None:
    block = {"regimes": ["federated"], "methods": ["none"], "seeds": [1], "organs": ["liver", "spleen"], "ct_per_mr": 5}
    study = Study.model_validate(values(blocks=[block], baseline="federated none"))
    assert [(arm.name, str(arm.population)) for arm in study.arms()] == [
        (f"federated-none-5ct_per_mr_{organ}-seed1", f"5ct_per_mr_{organ}") for organ in ("liver", "spleen")
    ]
    assert study.changes(study.arms()[1])[-1] == {"organs": ["spleen"], "seed": 1}
    with pytest.raises(ValidationError, match="training_patients or ct_per_mr, not both"):
        Study.model_validate(values(blocks=[block | {"training_patients": {"CT": 5}}]))


def test_a_method_is_a_change_of_settings_or_an_augmentation() -> None:
    study = Study.model_validate(values())
    spec = next(arm for arm in study.arms() if arm.method == "gin" and arm.regime is Regime.FEDERATED)
    assert study.changes(spec)[1:] == [{"augmentation": {"name": "gin", "params": {}}}, {"seed": 1}]
    listed = Study.model_validate(values(methods={"gin": {"augmentation": {"name": "gin", "params": {"layers": 2}}}}))
    assert listed.changes(spec)[1]["augmentation"]["params"] == {"layers": 2}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": {"seed": 3}}, "seed"),
        ({"blocks": [{"regimes": ["mr_only"], "methods": ["magic"], "seeds": [1]}]}, "magic"),
        ({"baseline": "central none"}, "baseline"),
        ({"speed": 9}, "speed"),
        ({"rounds": 0}, "rounds"),
        ({"methods": {"mine": {}, "yours": {"augmentation": {"quality": True}}}}, "an augmentation: mine, yours. Give"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_study(write(tmp_path, **changes))


def test_one_augmentation_in_the_settings_is_enough_for_all_methods() -> None:
    study = Study.model_validate(values(settings={"augmentation": {"name": "gin"}}, methods={"mine": {}}))
    assert list(study.methods) == ["mine"]


def test_paths_count_from_the_file_and_must_exist(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert load_study(path).sites == tmp_path / "sites"
    (tmp_path / "job").rmdir()
    with pytest.raises(ConfigError, match="'job'"):
        load_study(path)


def test_our_study_of_scarcity_has_the_papers_ratios_with_their_own_baselines() -> None:
    study = Study.model_validate(yaml.safe_load((ROOT / "studies" / "abdomen_scarce.yaml").read_text()))
    assert (ROOT / "studies" / study.job).resolve().is_dir()
    found = {(dict(arm.training_patients)[Modality.CT], arm.regime, arm.method) for arm in study.arms()}
    regimes = [Regime.MR_ONLY, Regime.FEDERATED]
    assert found == {(ct, regime, method) for ct in (1, 2, 5) for regime in regimes for method in ("none", "gin")}
    assert {dict(arm.training_patients)[Modality.MR] for arm in study.arms()} == {1}


@pytest.mark.parametrize("name", ["abdomen", "heart"])
def test_our_own_studies_have_the_arms_that_are_asked_for(name: str) -> None:
    study = Study.model_validate(yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text()))
    assert (ROOT / "studies" / study.job).resolve().is_dir()
    arms = study.arms()
    for regime in (Regime.MR_ONLY, Regime.CENTRAL, Regime.FEDERATED):
        found = {arm.method for arm in arms if arm.regime is regime}
        assert found >= {"none", "gin", "randconv", "rcnet", "prorandconv", "fmaug", "raffesdg", "dsbn"}
        for method in ("none", "gin"):
            assert len({arm.seed for arm in arms if arm.regime is regime and arm.method == method}) >= 3


@pytest.mark.parametrize(("name", "arms"), [("paper_abdomen", 38 * 5 * 3), ("paper_heart", 20 * 3)])
def test_the_protocol_of_the_paper_can_be_run_once_its_sites_are_there(name: str, arms: int, tmp_path: Path) -> None:
    path = ROOT / "studies" / f"{name}.yaml"
    text = path.read_text().replace(f"../runs/{name}_sites", str(tmp_path)).replace("../jobs", str(ROOT / "jobs"))
    (tmp_path / "study.yaml").write_text(text)
    study = load_study(tmp_path / "study.yaml")
    job = load_job(study.job).experiment.model_dump(mode="json")
    experiments = []
    for spec in study.arms():
        values = job
        for changes in study.changes(spec):
            values = with_changes(values, changes)
        experiments.append(Experiment.model_validate(values))
    assert len(experiments) == arms
    assert {len(each.organs) for each in experiments} == {1}
    for training in (each.training for each in experiments):
        assert (training.local_epochs, training.batch_size, training.schedule) == (1, 8, "plateau")
        assert (training.learning_rate, training.weight_decay) == (5e-4, 1e-4)
    assert study.rounds == 100
    assert {each.seed for each in experiments} == {42, 123, 215}


def test_our_study_of_centres_leaves_each_of_them_out_with_three_seeds() -> None:
    study = Study.model_validate(yaml.safe_load((ROOT / "studies" / "centres.yaml").read_text()))
    assert (ROOT / "studies" / study.job).resolve().is_dir()
    assert all(block.leave_one_site_out and len(block.seeds) >= 3 for block in study.blocks)
    sites = {"ct-site": Modality.CT, "mr-site": Modality.MR, "mr-pancreas-site": Modality.MR}
    arms = study.arms_at(lambda spec: sites)
    assert len(arms) == 24, "as the file says"
    assert {arm.without for arm in arms} == {"", *sites}
