"""The door of a job: nothing but what is derived passes, whoever checks it."""

import importlib
import inspect
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.allow_list import ALLOWED_CLASSES
from fedgin.flare.jobs.application import check_configuration, read_application
from fedgin.flare.jobs.configuration import client_config, named_classes, server_config
from fedgin.flare.jobs.job import load_job, stage_job, write_job
from fedgin.flare.jobs.numbers import Numbers, read_numbers
from fedgin.flare.server.request_pace import LONGEST
from fedgin.train.experiment import FederationSettings
from tests.flare.jobs.evaluation_jobs import TEMPLATE, evaluating
from tests.places import JOBS, TRAINING_JOBS

PLAIN, ENCRYPTED = JOBS / "abdomen_fedgin", JOBS / "abdomen_fedgin_encrypted"
KINDS = (PLAIN, ENCRYPTED, TEMPLATE)
CONFIGS = ("config_fed_server.json", "config_fed_client.json")
EXPERIMENTS = {job.name: load_job(job).experiment for job in (PLAIN, ENCRYPTED)} | {TEMPLATE.name: evaluating()}
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PLAIN / "app", tmp_path / "app"))


def refusal(app: Path) -> str:
    with pytest.raises(FedginError) as caught:
        read_application(app)
    return str(caught.value)


def edit(path: Path, change: Change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("job", TRAINING_JOBS, ids=lambda job: job.name)
def test_a_shipped_job_is_to_the_byte_what_is_derived(job: Path, tmp_path: Path) -> None:
    write_job(load_job(job), tmp_path / job.name)
    files = {path.relative_to(job) for path in job.rglob("*") if path.is_file()}
    assert {
        path.relative_to(tmp_path / job.name) for path in (tmp_path / job.name).rglob("*") if path.is_file()
    } == files
    for file in files:
        assert (tmp_path / job.name / file).read_bytes() == (job / file).read_bytes(), file


def components(values: Any) -> Iterator[dict[str, Any]]:
    """Yield every part of a configuration that names a class."""
    if isinstance(values, dict):
        yield from [values] if isinstance(values.get("path"), str) and "args" in values else []
        values = list(values.values())
    if isinstance(values, list):
        for part in values:
            yield from components(part)


def unset_arguments() -> list[tuple[str, str, str, str]]:
    """Return file, class, kind of job and argument, for each that FLARE's code has and our jobs do not set."""
    found = []
    for job in KINDS:
        for file in CONFIGS:
            for part in components(json.loads((job / "app" / "config" / file).read_text())):
                module, _, name = part["path"].rpartition(".")
                made = getattr(importlib.import_module(module), name)
                owner = made.__init__ if inspect.isclass(made) else made
                arguments = set(inspect.signature(owner).parameters) - {"self"} - set(part["args"])
                found += [(job.name, file, part["path"], argument) for argument in sorted(arguments)]
    return found


UNSET = unset_arguments()


def test_the_arguments_of_the_attacks_are_among_those_that_are_tried() -> None:
    tried = {argument for _, _, _, argument in UNSET}
    assert {"source_ckpt_file_full_name", "load_weights_only", "global_model_file_name", "exclude_vars"} <= tried
    assert len(UNSET) > 60


def carried(job: Path) -> dict[str, Any]:
    """Return FLARE's configuration of a shipped job, by file."""
    return {file: json.loads((job / "app" / "config" / file).read_text()) for file in CONFIGS}


def is_refused(job: Path, configs: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_configuration(EXPERIMENTS[job.name], *(configs[file] for file in CONFIGS))
    return str(caught.value)


@pytest.mark.parametrize("unset", UNSET, ids=lambda unset: f"{unset[2].rpartition('.')[2]}-{unset[3]}")
def test_no_argument_of_a_class_of_ours_can_be_set(unset: tuple[str, ...]) -> None:
    job, file, path, argument = unset
    values: list[object] = [None, "/etc/passwd", False, 1, {}]
    for value in values:
        configs = carried(JOBS / job)
        next(part for part in components(configs[file]) if part["path"] == path)["args"][argument] = value
        text = is_refused(JOBS / job, configs)
        assert file in text
        assert argument in text


@pytest.mark.parametrize("file", CONFIGS)
@pytest.mark.parametrize("job", KINDS, ids=lambda job: job.name)
def test_no_value_can_be_changed_left_out_or_added_but_the_numbers(job: Path, file: str) -> None:
    for place in every_place(carried(job)[file]):
        for change in (replace, drop, add):
            configs = carried(job)
            change(configs[file], place)
            assert file in is_refused(job, configs), (place, change)


def every_place(values: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to everything inside."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else []
    for key, value in inside:
        yield (*at, key)
        yield from every_place(value, (*at, key))


def holder(values: Any, place: tuple[str | int, ...]) -> Any:
    for key in place[:-1]:
        values = values[key]
    return values


def replace(values: Any, place: tuple[str | int, ...]) -> None:
    holder(values, place)[place[-1]] = "subprocess.Popen"


def drop(values: Any, place: tuple[str | int, ...]) -> None:
    """Leave out; a number that is left out would have its default, which a job has to say."""
    del holder(values, place)[place[-1]]


def add(values: Any, place: tuple[str | int, ...]) -> None:
    inside = holder(values, place)
    if isinstance(inside, list):
        inside.append("subprocess.Popen")
    else:
        inside["name"] = "subprocess.Popen"


@pytest.mark.parametrize("name", sorted(Numbers.model_fields))
@pytest.mark.parametrize("value", [True, "5", [5], None, -1, 1e9, 10**12])
def test_a_number_is_a_number_within_its_bounds(name: str, value: object) -> None:
    numbers = Numbers(num_rounds=3, min_clients=2)
    server = server_config(numbers, FederationSettings())
    # The survey of organs, which comes before training, has a wait of its own.
    [place] = [place for place in every_place(server) if place[-1] == name and place[:2] != ("workflows", 0)]
    holder(server, place)[name] = value
    if value is None and name not in ("num_rounds", "min_clients"):
        assert getattr(read_numbers(server), name) == getattr(numbers, name)
    else:
        with pytest.raises(FedginError, match=rf"'{name}' must be a (whole )?number from"):
            read_numbers(server)


def test_every_number_is_read_where_it_is_written() -> None:
    numbers = Numbers(
        num_rounds=3,
        min_clients=4,
        wait_time_after_min_received=5,
        train_timeout=6,
        submit_model_timeout=17,
        validation_timeout=18,
        heart_beat_timeout=11,
        task_request_interval=0.25,
        task_check_period=2,
    )
    assert read_numbers(server_config(numbers, FederationSettings())) == numbers
    without = numbers.model_copy(update={"submit_model_timeout": 600})
    assert read_numbers(server_config(numbers, FederationSettings(homomorphic_encryption=True))) == without


@pytest.mark.parametrize("name", ["submit_model_timeout", "validation_timeout"])
def test_no_site_is_given_up_before_it_asks(name: str) -> None:
    server = server_config(Numbers(num_rounds=3, min_clients=2), FederationSettings())
    [place] = [place for place in every_place(server) if place[-1] == name]
    holder(server, place)[name] = math.ceil(LONGEST)
    with pytest.raises(FedginError, match=f"'{name}' must be a whole number from 10"):
        read_numbers(server)


@pytest.mark.parametrize("value", [True, 1.0])
def test_a_value_of_another_type_is_another_value(app: Path, value: object) -> None:
    edit(app / "config" / "config_fed_client.json", lambda values: values.update(format_version=value))
    assert "'format_version'" in refusal(app)


def test_the_encryption_of_a_job_follows_from_its_experiment(app: Path) -> None:
    for name in CONFIGS:
        shutil.copyfile(ENCRYPTED / "app" / "config" / name, app / "config" / name)
        assert "is not what the job's experiment.yaml makes it" in refusal(app) or "does not belong" in refusal(app)
        shutil.copyfile(PLAIN / "app" / "config" / name, app / "config" / name)
    assert read_application(app)


def test_the_allow_list_is_what_the_jobs_name_and_nothing_more() -> None:
    files = JOBS.glob("*/app/config/config_fed_*.json")
    shipped = {path for file in files for path in named_classes(json.loads(file.read_text()))}
    others = {"fedgin.flare.server.server_optimizer.ServerOptimizer", "torch.optim.Adam", "torch.optim.SGD"}
    others.add("fedgin.flare.server.fingerprint_collector.FingerprintCollector")  # of a job that 'fedgin plan' submits
    assert set(ALLOWED_CLASSES) == shipped | others
    assert set(named_classes(client_config(encrypted=False))) < set(ALLOWED_CLASSES)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_the_optimiser_of_a_server_follows_from_the_experiment(tmp_path: Path, name: str) -> None:
    federation = {"federation": {"algorithm": {"name": name, "learning_rate": 0.5}}}
    job = stage_job(load_job(PLAIN), tmp_path / "job", sites=2, rounds=1, changes=federation)
    assert read_application(job.folder / "app").experiment.federation.algorithm.name == name
    config = job.folder / "app" / "config" / CONFIGS[0]
    config.write_text(config.read_text().replace('"lr": 0.5', '"lr": 5'))
    assert "'components.1.args.optimizer_args.args.lr'" in refusal(job.folder / "app")
    shutil.copyfile(PLAIN / "app" / "config" / CONFIGS[0], config)
    assert "config_fed_server.json" in refusal(job.folder / "app")
