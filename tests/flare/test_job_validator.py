import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgin.flare.allow_list import ALLOWED_CLASSES
from fedgin.flare.job_validator import JobValidator
from fedgin.manifest import write_manifest
from tests.sites import write_site

JOBS = sorted((Path(__file__).resolve().parents[2] / "jobs").iterdir())


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A site's kit, as far as the validator looks at it."""
    kit = tmp_path / "kit"
    (kit / "local").mkdir(parents=True)
    write_manifest(kit / "startup")
    (kit / "startup" / "fed_client.json").write_text("{}")
    contract = write_site(tmp_path / "data", "hospital-a")
    values = yaml.safe_load(contract.read_text()) | {"data_root": str(contract.parent)}
    (kit / "local" / "site.yaml").write_text(yaml.safe_dump(values))
    return kit


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return Path(shutil.copytree(JOBS[0] / "app", tmp_path / "app"))


def edit(path: Path, change: Any) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(kit: Path, app: Path) -> str:
    text, properties = JobValidator(str(kit)).validate(str(app))
    assert properties == {}
    assert str(kit.parent) not in text
    return text


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_our_jobs_pass_at_sites_and_server(kit: Path, job: Path) -> None:
    assert refusal(kit, job / "app") == ""
    (kit / "startup" / "fed_client.json").unlink()
    shutil.rmtree(kit / "local")
    assert refusal(kit, job / "app") == ""


@pytest.mark.parametrize("key", ["path", "class_path", "name"])
def test_a_class_outside_the_list_is_refused_wherever_it_hides(kit: Path, app: Path, key: str) -> None:
    hidden = {key: "subprocess.Popen", "args": {"args": ["touch", "/tmp/owned"]}}
    edit(
        app / "config" / "config_fed_server.json", lambda v: v["components"][0]["args"].update(model={"deep": [hidden]})
    )
    assert "'subprocess.Popen', which is not on the class allow-list" in refusal(kit, app)


def test_the_clients_configuration_is_checked_too(kit: Path, app: Path) -> None:
    edit(app / "config" / "config_fed_client.json", lambda v: v["components"].append({"id": "x", "path": "os.system"}))
    assert "'os.system'" in refusal(kit, app)


@given(path=st.from_regex(r"\A[a-z_]{1,8}(\.[A-Za-z_]{1,8}){1,3}\Z"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_other_class_passes(kit: Path, app: Path, path: str) -> None:
    def replace(values: Any) -> None:
        values["components"] = [{"id": "x", "path": path, "args": {}}]

    edit(app / "config" / "config_fed_client.json", replace)
    assert (refusal(kit, app) == "") == (path in ALLOWED_CLASSES)


@pytest.mark.parametrize(
    "name", ["custom/evil.py", "config/model.pt", "config/weights.pkl", "config/run.sh", "notes/a.json"]
)
def test_anything_but_settings_is_refused(kit: Path, app: Path, name: str) -> None:
    (app / name).parent.mkdir(exist_ok=True)
    (app / name).write_bytes(b"\x80\x04")
    assert f"the job carries '{name.split('/')[0]}" in refusal(kit, app)


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


def test_a_missing_module_is_named(kit: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    # What an import finds when a site has not installed a package.
    monkeypatch.setitem(sys.modules, "nvflare.app_common.widgets.validation_json_generator", None)
    assert "is missing" in refusal(kit, app)
