"""One federation for all tests of faults, which starts anew after a test that failed."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
from torch import Tensor

from fedgin.data.site import SiteContract, load_site
from fedgin.files import locked
from fedgin.flare.jobs.job import Job, load_job, stage_job
from fedgin.flare.run.simulation import simulate
from fedgin.train.checkpoint import load_checkpoint
from poc.federation import free_port, provision, running
from tests.integration.faults.proxy import Network
from tests.integration.faults.setting import ROUNDS, SITES, Fault, Setting
from tests.sites import tiny_experiment, write_site

FAILED = pytest.StashKey[bool]()


def undisturbed_model(folder: Path, job: Job, sites: Mapping[str, SiteContract]) -> dict[str, Tensor]:
    """Return the model that the job makes when nothing happens; the first worker that comes makes it for all."""
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        done = folder / "path"
        if not done.exists():
            done.write_text(str(simulate(job, sites, folder / "simulated").last_model))
        return dict(load_checkpoint(Path(done.read_text()))["model"])


@pytest.fixture(scope="package")
def setting(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Setting]:
    root = tmp_path_factory.mktemp("faults")
    sites = {name: load_site(write_site(root / "data" / name, name, kind)) for name, kind in SITES.items()}
    tiny = tiny_experiment(training={"local_steps": 10, "batch_size": 4})
    changes = tiny.model_dump(mode="json", include={"organs", "preprocessing", "network", "training"})
    original = load_job(pytestconfig.rootpath / "jobs" / "abdomen_fedgin")
    job = stage_job(original, root / "tiny", sites=len(sites), rounds=ROUNDS, changes=changes)
    # Each parallel worker has a folder of its own in one that they share.
    shared = root.parents[1 if "PYTEST_XDIST_WORKER" in os.environ else 0] / "undisturbed"
    undisturbed = undisturbed_model(shared, job, sites)
    port = free_port()
    network = Network(port)
    federation = provision(sites, root / "federation", port=port, routes={"mr-a": network.port})
    try:
        with running(federation, list(SITES)):
            yield Setting(federation, network, sites, job, undisturbed)
    finally:
        network.close()


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Fault:
    return Fault(record_property)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def restart_after_failure(request: pytest.FixtureRequest, setting: Setting) -> Iterator[None]:
    """Let one failed test fail no other: its network may be cut still, and its job may wait for ever."""
    yield
    if FAILED in request.node.stash:
        setting.restart()
