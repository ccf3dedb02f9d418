"""What is made of a job's files that the server sends, or has not."""

from pathlib import Path
from typing import Any

import pytest

from fedgin.flare.run.console import ConsoleError
from fedgin.flare.run.download import fetch_to_resume


class Server:
    """Has a job that was refused when it was submitted, of which nothing is kept."""

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        return {"job_id": job_id, "status": "FINISHED:FAILED_TO_RUN"}

    def download_job_result(self, job_id: str, place: str) -> str:
        found = Path(place) / job_id
        (found / "job").mkdir(parents=True)
        return str(found)


def test_a_job_that_was_refused_at_its_submission_cannot_be_resumed_and_says_so(tmp_path: Path) -> None:
    server: Any = Server()
    with pytest.raises(ConsoleError, match=r"the server keeps no files of job job-1\. Fix: submit it anew"):
        fetch_to_resume(server, "job-1", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
