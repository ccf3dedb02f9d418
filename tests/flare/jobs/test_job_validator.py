import hashlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml

from fedgin.errors import ConfigError
from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.jobs import installed
from fedgin.flare.jobs.encryption_key import SERVER_KEY, SITE_KEY
from fedgin.flare.jobs.installed import check_installed, count_parameters
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.flare.jobs.job_validator import JobValidator
from fedgin.manifest import write_manifest
from fedgin.train.experiment import Experiment
from tests.flare.jobs.evaluation_jobs import TEMPLATE, evaluation_job
from tests.flare.jobs.test_configuration import CONFIGS, UNSET, components
from tests.places import JOBS, TRAINING_JOBS
from tests.sites import tiny_volumes, write_site

FOLDERS = TRAINING_JOBS

# Of the process that tries what a job names; tests/conftest.py puts another in its place.
ASK = installed.ask

ENCRYPTED = FOLDERS[0].with_name("abdomen_fedgin_encrypted")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A site's kit, as far as the validator looks at it."""
    kit = tmp_path / "kit"
    (kit / "local").mkdir(parents=True)
    write_manifest(kit / "startup")
    (kit / "startup" / "fed_client.json").write_text("{}")
    (kit / "startup" / SITE_KEY).write_bytes(b"the validator only looks whether it is there")
    contract = write_site(tmp_path / "data", "hospital-a")
    values = yaml.safe_load(contract.read_text()) | {"data_root": str(contract.parent)}
    (kit / "local" / "site.yaml").write_text(yaml.safe_dump(values))
    return kit


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDERS[0] / "app", tmp_path / "app"))


def edit_contract(kit: Path, **changes: Any) -> None:
    path = kit / "local" / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def edit(path: Path, change: Any) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(kit: Path, app: Path) -> str:
    text, properties = JobValidator(str(kit)).validate(str(app))
    assert properties == {}
    assert str(kit.parent) not in text
    return text


def test_a_kit_from_whose_path_flare_can_start_no_job_refuses_all(kit: Path, app: Path) -> None:
    moved = kit.rename(kit.with_name("a  kit"))
    assert "FLARE can start no job from the path of this kit" in refusal(moved, app)
    assert read_log(moved).events[0].kind is Kind.JOB_REFUSED


@pytest.mark.parametrize("job", FOLDERS, ids=lambda job: job.name)
def test_our_jobs_pass_at_sites_and_server(kit: Path, job: Path) -> None:
    assert refusal(kit, job / "app") == ""
    (kit / "startup" / "fed_client.json").unlink()
    shutil.rmtree(kit / "local")
    (kit / "startup" / SITE_KEY).rename(kit / "startup" / SERVER_KEY)
    assert refusal(kit, job / "app") == ""


def test_an_encrypted_job_needs_a_kit_with_a_key_and_keeps_its_word(kit: Path, tmp_path: Path) -> None:
    app = Path(shutil.copytree(ENCRYPTED / "app", tmp_path / "app"))
    (kit / "startup" / SITE_KEY).unlink()
    assert "this kit has no key of the encryption. Fix: the project lead sets encryption_key" in refusal(kit, app)
    edit(app / "config" / "config_fed_client.json", lambda values: values.update(task_result_filters=[]))
    assert "config_fed_client.json: 'task_result_filters.0' is missing" in refusal(kit, app)


@pytest.mark.parametrize("job", FOLDERS, ids=lambda folder: folder.name)
def test_a_site_for_encrypted_jobs_alone_takes_no_other(kit: Path, job: Path) -> None:
    edit_contract(kit, privacy={"encrypted_jobs_only": True})
    said = refusal(kit, job / "app")
    assert (said == "") if job == ENCRYPTED else "hospital-a takes part in encrypted jobs only" in said


def test_an_encrypted_job_needs_tenseal_and_no_other_does(
    kit: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgin.flare.jobs.encryption_library.find_spec", lambda name: None)
    assert "needs TenSEAL, which is not installed here. Fix: pip install -r" in refusal(kit, ENCRYPTED / "app")
    assert refusal(kit, app) == ""


@pytest.fixture(params=["server", "site"])
def participant(request: pytest.FixtureRequest, kit: Path, monkeypatch: pytest.MonkeyPatch) -> JobValidator:
    """The validator of a server and of a site; the hash over the whole package is not part of the job."""
    monkeypatch.setattr("fedgin.flare.jobs.job_validator.check_manifest", lambda startup: None)
    if request.param == "server":
        (kit / "startup" / "fed_client.json").unlink()
    return JobValidator(str(kit))


@pytest.mark.parametrize("unset", UNSET, ids=lambda unset: f"{unset[2].rpartition('.')[2]}-{unset[3]}")
def test_no_argument_that_our_jobs_leave_out_passes(
    participant: JobValidator, tmp_path: Path, unset: tuple[str, ...]
) -> None:
    job, file, path, argument = unset
    whole = evaluation_job(tmp_path).folder if job == TEMPLATE.name else JOBS / job
    app = Path(shutil.copytree(whole / "app", tmp_path / "app"))

    def set_argument(values: dict[str, Any]) -> None:
        next(part for part in components(values) if part["path"] == path)["args"][argument] = "/etc/passwd"

    edit(app / "config" / file, set_argument)
    text, _ = participant.validate(str(app))
    assert argument in text
    assert "/etc/passwd" not in text


@pytest.mark.parametrize("file", CONFIGS)
@pytest.mark.parametrize("hidden", [{"path": "subprocess.Popen"}, {"id": "x", "name": "Popen"}, "subprocess.Popen"])
def test_no_class_can_be_added(participant: JobValidator, app: Path, file: str, hidden: object) -> None:
    edit(app / "config" / file, lambda values: values["components"].append(hidden))
    assert f"{file}: 'components." in participant.validate(str(app))[0]


def test_a_deep_configuration_is_refused(kit: Path, app: Path) -> None:
    (app / "config" / "config_fed_client.json").write_text("[" * 100_000)
    assert "config_fed_client.json: nested more than 32 deep" in refusal(kit, app)


@pytest.mark.parametrize(
    "name",
    [
        "custom/evil.py",
        "config/model.pt",
        "config/run.sh",
        "config/log_config.json",
        "config/config_fed_client.yaml",
        "config_fed_client.json",
        "notes/experiment.yaml",
        "config/" + "x" * 200,
    ],
)
def test_anything_but_settings_is_refused(kit: Path, app: Path, name: str) -> None:
    (app / name).parent.mkdir(exist_ok=True)
    (app / name).write_bytes(b"\x80\x04")
    assert f"the job carries '{name.split('/')[0]}" in refusal(kit, app)
    assert len(refusal(kit, app)) < 400


def test_the_files_of_a_signature_are_part_of_a_job(kit: Path, app: Path) -> None:
    for folder in (app, app / "config"):
        (folder / ".__nvfl_sig.json").write_text("{}")
        (folder / ".__nvfl_submitter.crt").write_text("certificate")
    assert refusal(kit, app) == ""


def test_an_empty_custom_folder_is_refused(kit: Path, app: Path) -> None:
    (app / "custom").mkdir()
    assert "'custom'" in refusal(kit, app)


def test_a_link_out_of_the_job_is_refused(kit: Path, app: Path) -> None:
    (app / "config" / "extra.json").symlink_to("/etc/hostname")
    assert "extra.json" in refusal(kit, app)


def test_a_target_in_the_experiment_is_refused(kit: Path, app: Path) -> None:
    path = app / "config" / "experiment.yaml"
    values = yaml.safe_load(path.read_text())
    values["network"]["_target_"] = "os.system"
    path.write_text(yaml.safe_dump(values))
    assert "_target_" in refusal(kit, app)


@pytest.mark.parametrize("name", ["experiment.yaml", "config_fed_client.json", "config_fed_server.json"])
def test_a_missing_or_broken_file_is_named(kit: Path, app: Path, name: str) -> None:
    (app / "config" / name).write_text("{")
    assert name in refusal(kit, app)
    (app / "config" / name).unlink()
    assert name in refusal(kit, app)


def test_another_version_of_the_package_is_told_before_anything_else(kit: Path, app: Path) -> None:
    manifest = kit / "startup" / "fedgin.json"
    edit(manifest, lambda values: values.update(version="9.9.9"))
    assert "the kit expects fedgin 9.9.9" in refusal(kit, app)
    manifest.unlink()
    assert "no readable startup/fedgin.json" in refusal(kit, app)


def test_a_site_without_contract_refuses_the_job(kit: Path, app: Path) -> None:
    (kit / "local" / "site.yaml").unlink()
    assert "local/site.yaml: no such file" in refusal(kit, app)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"modality": "PET"}, "local/site.yaml: 'modality'"),
        ({"secret": 1}, "local/site.yaml: 'secret': unknown key"),
        ({"data_root": "/nowhere/jane-doe"}, "local/site.yaml: 'data_root' or 'datalist' is not there"),
        ({"datalist": "/nowhere/jane-doe.json"}, "local/site.yaml: 'data_root' or 'datalist' is not there"),
        ({"data_root": "jane-doe\0"}, "local/site.yaml: a text holds NUL"),
    ],
)
def test_a_wrong_contract_is_told_without_its_folders(kit: Path, app: Path, changes: Any, cause: str) -> None:
    edit_contract(kit, **changes)
    assert cause in refusal(kit, app)
    assert "jane-doe" not in refusal(kit, app)


def test_an_unforeseen_error_is_told_without_its_text(kit: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(f"{path} of jane-doe")

    monkeypatch.setattr("fedgin.flare.jobs.application.load_experiment", fail)
    text = refusal(kit, app)
    assert "the job was not checked: unforeseen OSError" in text
    assert "jane-doe" not in text


def test_the_kit_is_the_folder_that_flare_starts_in(kit: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kit)
    validator = JobValidator()
    monkeypatch.chdir(app)
    assert validator.validate(str(app)) == ("", {})
    assert "no readable startup/fedgin.json" in JobValidator().validate(str(app))[0]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (safetensors.numpy.save({"w": np.zeros(3)}, metadata={"round": "1"}), ""),
        (b"\x80\x04cos\nsystem\n", "checkpoint.safetensors is damaged"),
        (None, "checkpoint.safetensors does not exist"),
    ],
)
def test_a_resumed_job_carries_its_checkpoint_and_nothing_like_it(
    kit: Path, app: Path, content: bytes | None, cause: str
) -> None:
    experiment = app / "config" / "experiment.yaml"
    values = yaml.safe_load(experiment.read_text()) | {"resumes": {"job": "old", "round": 2}}
    experiment.write_text(yaml.safe_dump(values))
    edit(app / "config" / CONFIGS[0], lambda values: values["workflows"][1]["args"].update(start_round=2))
    if content is not None:
        (app / "config" / "checkpoint.safetensors").write_bytes(content)
    assert refusal(kit, app)[: len(cause) or None] == cause


def test_each_decision_is_in_the_security_log_with_reason_and_hash(kit: Path, app: Path) -> None:
    assert refusal(kit, app) == ""
    (app / ".__nvfl_sig.json").write_text("{}")
    assert refusal(kit, app) == ""
    (app / "config" / "experiment.yaml").write_text("{")
    text = refusal(kit, app)
    log = read_log(kit)
    assert [event.kind for event in log.events] == [Kind.JOB_ACCEPTED, Kind.JOB_ACCEPTED, Kind.JOB_REFUSED]
    assert {event.job_id for event in log.events} == {app.parent.name}
    hashes = [event.app_sha256 for event in log.events]
    # A signature does not make another job of it; a changed file does.
    assert hashes[0] == hashes[1] != hashes[2]
    assert log.events[2].reason == text
    assert log.damage == ()


def test_nothing_of_the_data_or_the_keys_is_in_the_security_log(kit: Path, app: Path) -> None:
    (kit / "startup" / "client.key").write_text("a private key")
    edit_contract(kit, data_root="/nowhere/jane-doe")
    refusal(kit, app)
    edit_contract(kit, datalist="/nowhere/jane-doe.json")
    refusal(kit, app)
    text = (kit / "security.jsonl").read_text()
    assert "data_root" in text
    for secret in ("jane", "private key", str(kit.parent)):
        assert secret not in text


def test_a_job_that_cannot_be_recorded_is_refused(kit: Path, app: Path) -> None:
    (kit / "security.jsonl").mkdir()
    assert "security.jsonl cannot be written" in refusal(kit, app)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try what a job names in a process of its own, as everywhere but in tests."""
    monkeypatch.setattr(installed, "ask", ASK)
    monkeypatch.setattr(installed, "_importable", set())
    monkeypatch.setattr(installed, "_parameters", {})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: None) -> Path:
    """A module ``parts``, which can be imported from here, but is not there yet."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "parts.py"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "'parts.Filter' cannot be imported here: module 'parts' is missing. Fix: install the pinned"),
        ("import nowhere", "'parts.Filter' cannot be imported here: module 'nowhere' is missing. Fix: install the"),
        # A missing shared library, for example, is an OSError with the path of the machine in it.
        ("raise OSError(__file__)", "'parts.Filter' cannot be imported here: OSError in module 'parts'. Fix: install"),
        ("Filler = 1", "'parts.Filter' does not exist here. Fix: install the version of this package"),
        ("import os; os.kill(os.getpid(), 9)", "trying what the job names ended with code -9. Fix: install"),
    ],
)
def test_a_class_that_is_not_whole_here_is_named_until_it_is(module: Path, content: str | None, cause: str) -> None:
    if content is not None:
        module.write_text(content)
    with pytest.raises(ConfigError) as caught:
        check_installed(["fedgin.errors.FedginError", "parts.Filter"])
    assert str(caught.value).startswith(cause)
    module.write_text("Filter = 1  # and it prints, as libraries do\nprint('hello')")
    check_installed(["fedgin.errors.FedginError", "parts.Filter"])


def test_a_class_that_is_not_installed_refuses_the_job(kit: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(experiment: Experiment, classes: Collection[str], models: Path) -> int:
        raise ConfigError(f"{len(classes)} classes are named", "none")

    monkeypatch.setattr("fedgin.flare.jobs.job_validator.count_parameters", fail)
    assert "classes are named" in refusal(kit, app)


CONTENT = safetensors.numpy.save({"head": np.ones(3, np.float32)})


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The application of a job that starts from a file of weights."""
    pretrained = {"file": "a.safetensors", "sha256": hashlib.sha256(CONTENT).hexdigest()}
    changes = {"network": {"pretrained": pretrained}}
    return stage_job(load_job(FOLDERS[0]), tmp_path / "job", sites=1, rounds=1, changes=changes).folder / "app"


def put(kit: Path, content: bytes) -> None:
    (kit / "local" / "models").mkdir(exist_ok=True)
    (kit / "local" / "models" / "a.safetensors").write_bytes(content)


@pytest.mark.parametrize("server", [False, True])
def test_a_job_that_starts_from_a_file_needs_it_in_each_kit(kit: Path, started: Path, server: bool) -> None:
    if server:
        (kit / "startup" / "fed_client.json").unlink()
    missing = "local/models/a.safetensors: the weights that the job starts from are not there"
    assert refusal(kit, started).startswith(missing)
    put(kit, CONTENT + b" ")
    other = "local/models/a.safetensors is not the file that the job starts from"
    assert refusal(kit, started).startswith(other)


def test_a_job_whose_file_does_not_fit_is_refused_with_its_entries(kit: Path, started: Path) -> None:
    put(kit, CONTENT)
    said = refusal(kit, started)
    assert said.startswith("a.safetensors does not fit the network: 'head' does not belong to the network; 'model.0.")
    assert "is missing; and " in said


HUGE = {
    "network": {"name": "unet", "params": {"channels": [2048] * 5, "residual_units": 8}},
    "training": {"local_steps": 1_000_000, "batch_size": 4096},
    "preprocessing": {"size": [1024, 1024]},
}


def test_a_job_larger_than_the_site_allows_is_refused_with_every_number(kit: Path, app: Path) -> None:
    config = app / "config"
    values = yaml.safe_load((config / "experiment.yaml").read_text())
    (config / "experiment.yaml").write_text(yaml.safe_dump(values | HUGE))
    edit(config / "config_fed_server.json", lambda all_: training(all_)["args"].update(num_rounds=100_000))
    said = refusal(kit, app)
    for part in (
        "parameters 1,9",
        "(at most 200,000,000)",
        "batch_pixels 4,294,967,296 (at most 33,554,432)",
        "local_steps 1,000,000 (at most 10,000)",
        "rounds 100,000 (at most 2,000). Fix: make it smaller, or ask the site to raise 'limits'",
    ):
        assert part in said
    assert [event.kind for event in read_log(kit).events] == [Kind.JOB_REFUSED]
    edit_contract(
        kit, limits={"parameters": 10**10, "batch_pixels": 2**32, "local_steps": 10**6, "rounds": 10**5, "hours": 1e4}
    )
    assert refusal(kit, app) == ""


def training(values: dict[str, Any]) -> dict[str, Any]:
    return next(part for part in values["workflows"] if "num_rounds" in part["args"])


def test_a_site_that_pauses_refuses_every_job_and_goes_on_later(kit: Path, app: Path) -> None:
    edit_contract(kit, limits={"pause": True})
    assert refusal(kit, app).startswith("the site takes part in no job for now. Fix: ask the site when it goes on")
    edit_contract(kit, limits={"pause": False})
    assert refusal(kit, app) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {"name": "uent"}}, "unknown network 'uent'. Fix: did you mean 'unet'? choose one of"),
        ({"augmentation": {"name": "ginn"}}, "unknown augmentation 'ginn'. Fix: did you mean 'gin'? choose one of"),
        ({"network": {"params": {"channel": [8, 16]}}}, "has no parameter 'channel'. Fix: did you mean 'channels'?"),
        ({"augmentation": {"name": "gin", "params": {"alpha": 1}}}, "has no parameter 'alpha'"),
        (
            {"network": {"params": {"channels": [0, 16], "dropout": 2}}},
            "network 'unet': 'channels.1': Input should be greater than or equal to 1; 'dropout': Input should be less",
        ),
        ({"augmentation": {"name": "gin", "params": {"probability": 7}}}, "probability"),
        (
            {"augmentation": {"name": "gin", "params": {"kernel_sizes": [[1, 3, 3]]}}},
            "kernel_sizes has [1, 3, 3], which does not fit images with 2 axes",
        ),
    ],
)
def test_a_misspelt_part_is_refused_with_the_choices(
    kit: Path, app: Path, changes: dict[str, dict[str, Any]], said: str
) -> None:
    path = app / "config" / "experiment.yaml"
    values = yaml.safe_load(path.read_text())
    for section, change in changes.items():
        values[section] = values.get(section, {}) | change
    path.write_text(yaml.safe_dump(values))
    assert said in refusal(kit, app)


def test_weights_of_a_network_for_volumes_are_counted_elsewhere_without_making_them(elsewhere: None) -> None:
    experiment = tiny_volumes()
    assert count_parameters(experiment) == sum(each.numel() for each in experiment.initial_network().parameters())
