import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedgin.data.importers.label_ids import CHD68_IDS, HVSMR_IDS
from fedgin.data.limits import Limits
from fedgin.data.organ_names import doubtful_organs
from fedgin.errors import ConfigError
from fedgin.flare.jobs.job import load_job, stage_job, write_job
from fedgin.flare.jobs.limits import batch_pixels
from tests.places import JOBS, TRAINING_JOBS

NAMES = [path.name for path in TRAINING_JOBS]
REFERENCE = "abdomen_reference"
ENCRYPTED = "abdomen_fedgin_encrypted"
VOLUMES = "abdomen_fedgin_3d"


@pytest.mark.parametrize("name", NAMES)
def test_a_job_is_data(name: str) -> None:
    files = {path.relative_to(JOBS / name).as_posix() for path in (JOBS / name).rglob("*") if path.is_file()}
    config = {"config_fed_server.json", "config_fed_client.json", "experiment.yaml"}
    assert files == {"meta.json", *(f"app/config/{file}" for file in config)}
    assert load_job(JOBS / name).experiment.name == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != ENCRYPTED])
def test_jobs_share_their_flare_configuration(name: str) -> None:
    for file in ("config_fed_server.json", "config_fed_client.json"):
        texts = {(JOBS / job / "app" / "config" / file).read_text() for job in (name, "abdomen_fedavg")}
        assert len(texts) == 1, file


@pytest.mark.parametrize("name", NAMES)
def test_a_job_s_meta_has_its_name(name: str) -> None:
    meta = json.loads((JOBS / name / "meta.json").read_text())
    assert meta | {"name": ""} == json.loads((JOBS / "abdomen_fedavg" / "meta.json").read_text()) | {"name": ""}
    assert meta["name"] == name


def test_a_round_of_a_lenient_job_waits_for_the_slower_sites() -> None:
    """Configurations are the same in all jobs; that FLARE counts refused answers is shown in the simulator."""
    server = json.loads((JOBS / REFERENCE / "app" / "config" / "config_fed_server.json").read_text())
    assert server["workflows"][1]["args"]["wait_time_after_min_received"] == 600


@pytest.mark.parametrize("name", sorted(set(NAMES) - {REFERENCE, ENCRYPTED, VOLUMES}))
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


def test_the_job_of_volumes_has_the_task_of_the_slices_and_fits_a_site_s_limits() -> None:
    volumes, slices = (load_job(JOBS / name).experiment for name in (VOLUMES, "abdomen_fedgin"))
    assert (volumes.organs, volumes.federation) == (slices.organs, slices.federation)
    assert (slices.spatial_dims, volumes.spatial_dims) == (2, 3)
    assert volumes.preprocessing.network_size == (32, 64, 48)
    assert volumes.preprocessing.network_spacing == (6.0, 4.0, 4.0)
    assert volumes.augmentation.quality
    assert batch_pixels(volumes) <= Limits().batch_pixels
    shape = (1, 1, 16, 16, 16)
    shown = volumes.build_augmentation()(torch.ones(shape).cumsum(2), gen=torch.Generator().manual_seed(0))
    assert volumes.initial_network().eval()(shown).shape == (1, 7, 16, 16, 16)


def test_the_reference_is_what_the_authors_code_is_known_to_do() -> None:
    job = load_job(JOBS / REFERENCE).experiment
    assert (job.network.name, job.network.normalisation) == ("fedgin_unet", "batch")
    assert (job.augmentation.name, job.augmentation.params) == ("gin", {"kernel_sharing": "batch"})
    training = job.training
    assert (training.batch_size, training.learning_rate, training.weight_decay) == (8, 5e-4, 1e-4)
    assert (training.optimizer_state, job.federation.client_weighting) == ("keep", "samples")
    network = job.initial_network().eval()
    size = job.preprocessing.network_size
    assert network(torch.zeros(1, 1, *size)).shape == (1, 7, *size)


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
    found = write_job(replace(job, sites=("b", "a", "c", "d"), min_clients=2), tmp_path / "copy")
    meta = json.loads((found.folder / "meta.json").read_text())
    assert meta["deploy_map"] == {"app": ["server", "b", "a", "c", "d"]}
    assert (found.sites, found.min_clients, meta["min_clients"]) == (("b", "a", "c", "d"), 2, 2)


def test_a_job_that_stays_as_it_is_keeps_the_hash_of_its_application(tmp_path: Path) -> None:
    job = load_job(JOBS / "abdomen_fedgin")
    copy = write_job(replace(job, sites=("a", "b", "c")), tmp_path / "copy").folder
    for file in ("config_fed_server.json", "experiment.yaml"):
        path = Path("app", "config", file)
        assert (copy / path).read_bytes() == (job.folder / path).read_bytes()


def test_the_times_of_a_job_stay_when_it_is_copied(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "job"))
    config = folder / "app" / "config" / "config_fed_server.json"
    config.write_text(config.read_text().replace('"train_timeout": 0', '"train_timeout": 7200'))
    staged = stage_job(load_job(folder), tmp_path / "staged", sites=2, rounds=3, changes={})
    assert staged.numbers.train_timeout == 7200
    assert (staged.numbers.num_rounds, staged.numbers.min_clients) == (3, 2)


def test_a_copy_has_nothing_of_what_flare_left_in_the_folder(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "job"))
    (folder / "app" / ".__nvfl_sig.json").write_text("{}")
    copy = write_job(load_job(folder), tmp_path / "copy").folder
    assert not list(copy.rglob(".__nvfl*"))


def test_a_job_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown job 'abdomen_fedgn'.*did you mean 'abdomen_fedgin'"):
        load_job(JOBS / "abdomen_fedgn")
    with pytest.raises(ConfigError, match="no such job folder"):
        load_job(tmp_path / "abdomen_fedgin")


@pytest.mark.parametrize(("rounds", "sites"), [(0, 2), (2, 0), (10**6, 2), (2, 10**6)])
def test_a_number_out_of_its_bounds_writes_nothing(tmp_path: Path, rounds: int, sites: int) -> None:
    with pytest.raises(ConfigError, match=r"job abdomen_fedgin: '(num_rounds|min_clients)'"):
        stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "copy", sites=sites, rounds=rounds, changes={})
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("deployed", [None, {}, {"app": []}, {"app": "@ALL"}, {"app": [1]}, {"x": ["@ALL"]}])
def test_a_job_for_nobody_is_refused(tmp_path: Path, deployed: object) -> None:
    folder = Path(shutil.copytree(JOBS / "abdomen_fedgin", tmp_path / "job"))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"deploy_map": deployed}))
    with pytest.raises(ConfigError, match=r"meta\.json: "):
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
    with pytest.raises(ConfigError, match="carries 'app/custom'"):
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
    with pytest.raises(ConfigError, match="'num_rounds' must be a whole number from 1 to 100000"):
        load_job(tmp_path / "job")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"organs": ["livr", "spleeen", "aorta"]}, "'livr', 'spleeen'. Fix: did you mean 'liver', 'spleen'?"),
        (
            {"postprocessing": {"largest_region": ["livr"]}},
            "unknown organ of postprocessing.largest_region 'livr'. Fix: did you mean 'liver'? choose one of",
        ),
        ({"network": {"name": "unte"}}, "unknown network 'unte'. Fix: did you mean 'unet'?"),
        ({"augmentation": {"params": {"strength": 1}}}, "augmentation 'gin' has no parameter 'strength'"),
        ({"network": {"params": {"channels": [8]}}}, "network 'unet': 'channels': List should have at least 2 items"),
        (
            {"network": {"name": "swin_unetr"}, "preprocessing": {"size": [128, 112]}},
            "network 'swin_unetr' needs of preprocessing.size along y a multiple of 32, not 112",
        ),
        (
            {"network": {"name": "resenc", "params": {"kernel_sizes": [[1, 3, 3], 3, 3, 3]}}},
            "network 'resenc' kernel_sizes has [1, 3, 3] for level 1: give one number, or 2 (x, y)",
        ),
    ],
)
def test_what_is_misspelt_or_does_not_fit_in_a_job_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        stage_job(load_job(JOBS / "abdomen_fedgin"), tmp_path / "job", sites=2, rounds=1, changes=changes)
    assert said in str(caught.value)


def test_an_organ_that_nobody_knows_is_allowed_and_doubted() -> None:
    assert doubtful_organs(["liver", "kidney_left", "islet_graft"]) == [
        "organ 'kidney_left' is new to this package: every site must write this name alike."
        " Did you mean 'left_kidney'?",
        "organ 'islet_graft' is new to this package: every site must write this name alike.",
    ]
