"""FLARE's own commands on what ``fedgin poc`` and ``fedgin simulate`` prepare, each as a process of its own."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.run.results import RunResult
from fedgin.flare.run.simulation import simulated_result
from fedgin.phantoms.blocks import EXPERIMENT
from poc.federation import free_port
from tests.integration.faults.setting import wait_until
from tests.integration.processes import processes_in
from tests.places import JOBS, ROOT
from tests.sites import write_site

SITES = {"ct-a": "CT", "mr-a": "MR"}
TINY = {key: EXPERIMENT[key] for key in ("organs", "preprocessing", "network", "training")}

pytestmark = pytest.mark.flare


@dataclass(frozen=True)
class Shell:
    """A user's shell: an empty home, and variables that were exported."""

    home: Path
    exported: Mapping[str, str]

    def nvflare(self, *arguments: str) -> str:
        """Run one of FLARE's commands; return what it printed."""
        environment = {**os.environ, "HOME": str(self.home), "OMP_NUM_THREADS": "1", **self.exported}
        command = [str(Path(sys.executable).parent / "nvflare"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=540, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def write_sites(folder: Path) -> Path:
    for name, kind in SITES.items():
        write_site(folder / name, name, kind)
    return folder


def tiny_job(folder: Path) -> Job:
    return stage_job(load_job(JOBS / "abdomen_fedgin"), folder / "tiny", sites=len(SITES), rounds=1, changes=TINY)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("poc")


@pytest.fixture(scope="module")
def prepared(root: Path) -> Shell:
    """Let the verb prepare a workspace, and export what it says."""
    home = root / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.chdir(ROOT)
        arguments = ["--sites", str(write_sites(root / "sites")), "--port", str(free_port())]
        done = CliRunner().invoke(app, ["poc", str(root / "workspace"), *arguments])
    assert done.exit_code == 0, done.output
    (line,) = [line.split() for line in done.output.splitlines() if line.startswith("  export ")]
    return Shell(home, dict(word.split("=", maxsplit=1) for word in line[1:]))


@pytest.fixture(scope="module")
def started(root: Path, prepared: Shell) -> Iterator[Shell]:
    try:
        assert "Clients ready: 2/2" in prepared.nvflare("poc", "start", "--timeout", "240")
        yield prepared
    finally:
        # Not the waiting kind: FLARE gives its server 30 seconds to end, which a busy machine does not always manage.
        assert "POC system shutdown requested" in prepared.nvflare("poc", "stop", "--no-wait")
        wait_until(lambda: not processes_in(root / "workspace"), "all of FLARE's processes ended")


def test_the_own_settings_of_the_user_stay_as_they_are(prepared: Shell) -> None:
    assert not (prepared.home / ".nvflare").exists()
    workspace = Path(prepared.exported["NVFLARE_POC_WORKSPACE"])
    assert workspace.stat().st_mode & 0o077 == 0, "FLARE keeps the keys of all in it"


def test_a_job_that_nvflare_submits_is_checked_by_all_and_completed(started: Shell, root: Path) -> None:
    job = tiny_job(root / "jobs")
    printed = started.nvflare("job", "submit", "-j", str(job.folder))
    job_id = printed.split("job_id:")[1].split()[0]
    assert "FINISHED:COMPLETED" in started.nvflare("job", "wait", job_id, "--timeout", "480")
    kits = Path(started.exported["NVFLARE_STARTUP_KIT_DIR"]).parent
    for name in ("server", *SITES):
        events = [json.loads(line) for line in (kits / name / "security.jsonl").read_text().splitlines()]
        assert [event["person"] for event in events if event["kind"] == "job_accepted"] == ["lead@nvidia.com"]
    assert not (started.home / ".nvflare").exists()


def test_nvflare_poc_prepare_makes_the_same_kits_from_the_project_file(prepared: Shell, root: Path) -> None:
    made = Path(prepared.exported["NVFLARE_POC_WORKSPACE"])
    other = Shell(root / "other-home", {"NVFLARE_POC_WORKSPACE": str(root / "other")})
    other.home.mkdir()
    other.nvflare("poc", "prepare", "-i", str(made / "project.yml"))
    for name in SITES:
        first, second = (folder / "fedgin_poc" / "prod_00" / name / "local" for folder in (made, root / "other"))
        # FLARE sorts the keys of a project file when it keeps a copy.
        contracts = [yaml.safe_load((local / "site.yaml").read_text()) for local in (first, second)]
        assert contracts[0]["site"] == name
        assert contracts[0] == contracts[1]
        for file in ("resources.json.default", "authorization.json.default", "comm_config.json", "privacy.json"):
            assert (first / file).read_bytes() == (second / file).read_bytes()


def test_a_job_is_simulated_and_flares_own_simulator_works_on_what_is_left(root: Path) -> None:
    job, out = tiny_job(root / "simulated-jobs"), root / "simulated"
    arguments = ["--sites", str(write_sites(root / "simulated-sites")), "--out", str(out)]
    done = CliRunner().invoke(app, ["simulate", str(job.folder), *arguments])
    assert done.exit_code == 0, done.output
    assert "round 1/1  validation Dice  ct-a 0." in done.output
    result = RunResult(out)
    assert not result.fault(job, list(SITES))
    assert "2 sites were expected. Each sent an update in every one of 1 rounds" in (out / "report.html").read_text()
    weights = result.last_model.read_bytes()
    (command,) = [line.split("FLARE's command: ")[1] for line in done.output.splitlines() if "FLARE's command" in line]
    home = root / "simulated-home"
    home.mkdir()
    Shell(home, {}).nvflare(*shlex.split(command)[1:])
    again = simulated_result(out / "flare")
    assert not again.fault(job, list(SITES))
    assert result.last_model.read_bytes() == weights
    refused = CliRunner().invoke(app, ["simulate", str(job.folder), *arguments])
    assert "holds a simulation of tiny" in str(refused.exception)


def test_a_simulation_for_other_sites_than_the_jobs_is_refused_before_anything_is_written(root: Path) -> None:
    arguments = ["--sites", str(write_sites(root / "two-sites")), "--out", str(root / "unwritten")]
    done = CliRunner().invoke(app, ["simulate", str(JOBS / "abdomen_fedgin"), *arguments])
    assert "is for 3 sites" in str(done.exception)
    assert not (root / "unwritten").exists()
