import io
import zipfile
from pathlib import Path

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from fedgin.flare.audit.security_log import Kind, read_log
from fedgin.flare.client.job_deployer import JobDeployer
from tests.flare.jobs.test_meta import EXTRA, RECORD


def deploy(kit: Path, record: dict[str, object]) -> str:
    (kit / "startup").mkdir(parents=True, exist_ok=True)
    (kit / "local").mkdir(exist_ok=True)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    workspace = Workspace(str(kit), "ct-a")
    return JobDeployer(str(kit)).deploy(workspace, "job-1", record, "app", empty.getvalue(), FLContext())


@pytest.mark.parametrize("extra", EXTRA[:5], ids=str)
def test_a_site_unpacks_nothing_of_a_job_whose_record_asks_for_more(tmp_path: Path, extra: dict[str, object]) -> None:
    assert deploy(tmp_path, RECORD | extra).startswith("meta.json: ")
    assert not (tmp_path / "job-1").exists()
    [event] = read_log(tmp_path).events
    assert (event.kind, event.person, event.role) == (Kind.JOB_REFUSED, "lead@example.org", "lead")
    assert event.reason.startswith("meta.json: ")


def test_a_record_of_ours_goes_on_to_flare_s_own_deployer(tmp_path: Path) -> None:
    """Which, outside of a running site, has no validator to ask."""
    assert deploy(tmp_path, RECORD) == ""
    assert (tmp_path / "job-1").is_dir()
    assert not read_log(tmp_path).events
