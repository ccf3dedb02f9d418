"""The report of a job while it runs, for a browser that stays open."""

from collections.abc import Callable
from pathlib import Path

from fedgin.flare.jobs.job import Job
from fedgin.flare.run.results import RoundMetrics


class LivePage:
    """Writes the page at once, and again with everything new.

    Args:
        path: of the page.
        job: that runs.
        job_id: FLARE's.
    """

    def __init__(self, path: Path, job: Job, job_id: str) -> None:
        self.path = path
        self.job = job
        self.job_id = job_id
        self.rounds: list[RoundMetrics] = []
        self.said: list[str] = []
        self._write()

    def telling(self, also: Callable[[str], None]) -> Callable[[str], None]:
        """Return what adds a line that the server says, after telling it to somebody else."""

        def note(said: str) -> None:
            also(said)
            self.said.append(said)
            self._write()

        return note

    def add(self, *rounds: RoundMetrics) -> None:
        """Add complete rounds."""
        self.rounds += rounds
        self._write()

    def leave(self, why: str) -> None:
        """Say in a sentence why nobody renews the page any more."""
        self._write(left=why)

    def _write(self, left: str = "") -> None:
        if self.job.evaluated:
            from fedgin.report.evaluation_page import write_live_evaluation

            write_live_evaluation(self.path, self.job, self.job_id, self.said, left=left)
            return
        from fedgin.report.job_page import write_live_report  # draws, with Matplotlib

        write_live_report(self.path, self.job, self.job_id, self.rounds, self.said, left=left)
