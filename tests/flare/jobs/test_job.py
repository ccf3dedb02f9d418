import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedgin.data.importers.label_ids import CHD68_IDS, HVSMR_IDS
from fedgin.errors import ConfigError
from fedgin.flare.jobs.allow_list import ALLOWED_CLASSES
from fedgin.flare.jobs.job import load_job, name_sites, stage_job
from tests.places import JOBS

NAMES = sorted(path.name for path in JOBS.iterdir())
REFERENCE = "abdomen_reference"
ENCRYPTED = "abdomen_fedgin_encrypted"


def class_paths(value: object) -> set[str]:
    """Collect every ``path`` of a FLARE configuration."""
    if isinstance(value, dict):
        own = {str(value["path"])} if "path" in value else set()
        return own.union(*(class_paths(part) for part in value.values()))
    return set().union(*(class_paths(part) for part in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("name", NAMES)
def test_a_job_is_data(name: str) -> None:
    files = {path.relative_to(JOBS / name).as_posix() for path in (JOBS / name).rglob("*") if path.is_file()}
    config = {"config_fed_server.json", "config_fed_client.json", "experiment.yaml"}
    assert files == {"meta.json", *(f"app/config/{file}" for file in config)}
    assert load_job(JOBS / name).experiment.name == name


def test_the_allow_list_is_what_the_jobs_name_and_nothing_more() -> None:
    named = set().union(
        *(class_paths(json.loads(path.read_text())) for path in JOBS.glob("*/app/config/config_fed_*.json"))
    )
    assert named == set(ALLOWED_CLASSES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != ENCRYPTED])
def test_jobs_share_their_flare_configuration(name: str) -> None:
    for file in ("config_fed_server.json", "config_fed_client.json"):
        texts = {(JOBS / job / "app" / "config" / file).read_text() for job in (name, "abdomen_fedavg")}
        assert len(texts) == 1, file


@pytest.mark.parametrize("side", ["server", "client"])
def test_the_encrypted_job_s_flare_configuration_differs_in_the_encryption_alone(side: str) -> None:
    encrypted, plain = (
        (JOBS / name / "app" / "config" / f"config_fed_{side}.json").read_text().splitlines()
        for name in (ENCRYPTED, "abdomen_fedgin")
    )
    gone = {line.strip() for line in set(plain) - set(encrypted)}
    assert gone <= {
        '"path": "nvflare.app_common.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator",',
        '"submit_model_timeout": 600,',
        '"submit_model"',
        '"validate",',
        '"task_result_filters": [],',
        '"task_data_filters": [],',
        "}",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_job_s_meta_has_its_name(name: str) -> None:
    meta = json.loads((JOBS / name / "meta.json").read_text())
    assert meta | {"name": ""} == json.loads((JOBS / "abdomen_fedavg" / "meta.json").read_text()) | {"name": ""}
    assert meta["name"] == name


def test_a_round_of_a_lenient_job_waits_for_the_slower_sites() -> None:
    """Configurations are the same in all jobs; that FLARE counts refused answers is shown in the simulator."""
    server = json.loads((JOBS / REFERENCE / "app" / "config" / "config_fed_server.json").read_text())
    assert server["workflows"][0]["args"]["wait_time_after_min_received"] == 600


@pytest.mark.parametrize("name", sorted(set(NAMES) - {REFERENCE, ENCRYPTED}))
def test_a_job_differs_from_plain_fedavg_of_its_task_in_augmentation_alone(name: str) -> None:
    job, plain = (load_job(JOBS / each).experiment for each in (name, f"{name.split('_')[0]}_fedavg"))
    same = {"name": "x", "augmentation": plain.augmentation}
    assert job.model_copy(update=same) == plain.model_copy(update=same)
    assert plain.augmentation.name == "none"
    assert (job.augmentation == plain.augmentation) == (job.name == plain.name)


def test_the_encrypted_job_is_fedgin() -> None:
    encrypted, plain = (load_job(JOBS / name).experiment for name in (ENCRYPTED, "abdomen_fedgin"))
    federation = plain.federation.model_copy(update={"homomorphic_encryption": True})
    assert encrypted == plain.model_copy(update={"name": ENCRYPTED, "federation": federation})


def test_the_reference_is_what_the_authors_code_is_known_to_do() -> None:
    job = load_job(JOBS / REFERENCE).experiment
    assert (job.network.name, job.network.normalisation) == ("fedgin_unet", "batch")
    assert (job.augmentation.name, job.augmentation.params) == ("gin", {"kernel_sharing": "batch"})
    training = job.training
    assert (training.batch_size, training.learning_rate, training.weight_decay) == (8, 5e-4, 1e-4)
    assert (training.optimizer_state, job.federation.client_weighting) == ("keep", "samples")
    network = job.initial_network().eval()
    assert network(torch.zeros(1, 1, *job.preprocessing.size)).shape == (1, 7, *job.preprocessing.size)


def test_tasks_differ_in_organs_and_preprocessing_alone() -> None:
    abdomen, heart = (load_job(JOBS / f"{task}_fedgin").experiment for task in ("abdomen", "heart"))
    assert abdomen.augmentation.name == heart.augmentation.name == "gin"
    same = {"name": "x", "organs": abdomen.organs, "preprocessing": abdomen.preprocessing}
    assert heart.model_copy(update=same) == abdomen.model_copy(update=same)


def test_the_heart_jobs_segment_what_ct_and_mr_both_label() -> None:
    organs = load_job(JOBS / "heart_fedgin").experiment.organs
    assert set(organs) == set(CHD68_IDS) & set(HVSMR_IDS)


def test_staging_sets_sites_rounds_and_settings(tmp_path: Path) -> None:
    job = load_job(JOBS / "abdomen_fedgin")
    staged = stage_job(job, tmp_path / "job", sites=5, rounds=7, changes={"seed": 3, "training": {"local_steps": 9}})
    assert (staged.min_clients, staged.rounds) == (5, 7)
    assert json.loads((tmp_path / "job" / "meta.json").read_text())["min_clients"] == 5
    assert staged.experiment.seed == 3
    assert staged.experiment.training.local_steps == 9
    assert staged.experiment.training.batch_size == job.experiment.training.batch_size


def test_a_submitted_copy_names_its_sites_and_needs_as_many_as_was_said(tmp_path: Path) -> None:
    job = load_job(JOBS / "abdomen_fedgin")
    assert job.sites == ()
    copy = Path(shutil.copytree(job.folder, tmp_path / "copy"))
    name_sites(replace(job, sites=("b", "a", "c", "d"), min_clients=2), copy)
    assert json.loads((copy / "meta.json").read_text())["deploy_map"] == {"app": ["server", "b", "a", "c", "d"]}
    found = load_job(copy)
    assert (found.sites, found.min_clients) == (("a", "b", "c", "d"), 2)
    assert json.loads((copy / "meta.json").read_text())["min_clients"] == 2


def test_a_job_that_stays_as_it_is_keeps_the_hash_of_its_application(tmp_path: Path) -> None:
    job = load_job(JOBS / "abdomen_fedgin")
    copy = Path(shutil.copytree(job.folder, tmp_path / "copy"))
    name_sites(replace(job, sites=("a", "b", "c")), copy)
    config = "app/config/config_fed_server.json"
    assert (copy / config).read_bytes() == (job.folder / config).read_bytes()


@pytest.mark.parametrize("deployed", [None, {}, {"app": []}, {"app": "@ALL"}, {"app": [1]}, {"x": ["@ALL"]}])
def test_a_job_for_nobody_is_refused(tmp_path: Path, deployed: object) -> None:
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "job"))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"deploy_map": deployed}))
    with pytest.raises(ConfigError, match="deploy_map of meta"):
        load_job(folder)


@pytest.mark.parametrize("organ", ["pancreas", "gallbladder"])
def test_staging_for_one_organ_leaves_one_foreground_class(tmp_path: Path, organ: str) -> None:
    job = load_job(JOBS / "abdomen_fedgin")
    experiment = stage_job(job, tmp_path / "job", sites=3, rounds=1, changes={"organs": [organ]}).experiment
    assert (experiment.organs, experiment.classes) == ([organ], 2)
    assert experiment.model_copy(update={"organs": job.experiment.organs}) == job.experiment


def test_a_wrong_change_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'traning': unknown key"):
        stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "job", sites=2, rounds=1, changes={"traning": {}})
    assert not (tmp_path / "job").exists()


def test_a_job_with_code_is_refused(tmp_path: Path) -> None:
    stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "job", sites=2, rounds=1, changes={})
    (tmp_path / "job" / "app" / "custom").mkdir()
    with pytest.raises(ConfigError, match="carries code"):
        load_job(tmp_path / "job")


@pytest.mark.parametrize("key", ["_target_", "$expr"])
def test_an_experiment_cannot_name_code(tmp_path: Path, key: str) -> None:
    stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "job", sites=2, rounds=1, changes={})
    path = tmp_path / "job" / "app" / "config" / "experiment.yaml"
    path.write_text(path.read_text() + f"\n{key}: os.system\n")
    with pytest.raises(ConfigError, match="unknown key"):
        load_job(tmp_path / "job")


def test_a_missing_controller_is_named(tmp_path: Path) -> None:
    stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "job", sites=2, rounds=1, changes={})
    path = tmp_path / "job" / "app" / "config" / "config_fed_server.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"workflows": []}))
    with pytest.raises(ConfigError, match="no ScatterAndGather"):
        load_job(tmp_path / "job")
