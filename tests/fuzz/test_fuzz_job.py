import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgin.flare.jobs.job import load_job
from fedgin.flare.jobs.job_validator import JobValidator
from tests.fuzz.mutations import as_json, check_text, damaged, explains, fuzz, raw, spliced
from tests.places import JOBS

pytestmark = pytest.mark.timeout(300)
JOB = JOBS / "abdomen_fedgin"
SERVER = "app/config/config_fed_server.json"
FILES = [SERVER, "app/config/config_fed_client.json", "meta.json"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(JOB, tmp_path_factory.mktemp("jobs") / "job"))


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobValidator]:
    """A server's validator; the kit's manifest, a hash over the whole package, is not part of the job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedgin.flare.jobs.job_validator.check_manifest", lambda startup: None)
        yield JobValidator(str(tmp_path_factory.mktemp("kit")))


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw the name and the damaged content of one of a job's files of JSON."""
    name = draw(st.sampled_from(FILES))
    text = (JOB / name).read_bytes()
    return name, draw(damaged(json.loads(text)).map(as_json) | spliced(text) | raw)


def put(job: Path, name: str, content: bytes) -> None:
    for other in FILES:
        (job / other).write_bytes((JOB / other).read_bytes())
    (job / name).write_bytes(content)


@fuzz("job")
@given(file=files())
def test_a_job_is_read_or_refused(job: Path, file: tuple[str, bytes]) -> None:
    put(job, *file)
    explains(lambda: load_job(job))


@fuzz("validator")
@given(file=files())
def test_a_job_is_accepted_or_answered_with_its_fault(
    job: Path, validator: JobValidator, file: tuple[str, bytes]
) -> None:
    put(job, *file)
    text, _ = validator.validate(str(job / "app"))
    check_text(text)
    assert not text or "Fix: " in text
    assert "unforeseen" not in text
    assert str(job) not in text


@pytest.mark.parametrize(
    "args",
    [
        *[None, [], "num_rounds", {}, {"num_rounds": 3}, {"num_rounds": 10**400, "min_clients": 1}],
        *[
            {"num_rounds": 3, "min_clients": 0},
            {"num_rounds": -1, "min_clients": 1},
            {"num_rounds": True, "min_clients": 1},
        ],
        *[{"num_rounds": "3", "min_clients": 1}, {"num_rounds": [3], "min_clients": 1}],
    ],
)
def test_a_controller_without_counts_is_refused(job: Path, args: object) -> None:
    values = json.loads((JOB / SERVER).read_text())
    values["workflows"][1]["args"] = args
    put(job, SERVER, as_json(values))
    assert not explains(lambda: load_job(job))
