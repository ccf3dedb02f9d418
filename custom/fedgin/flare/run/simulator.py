"""FLARE's simulator, without two of its faults, and in a folder that stays ours.

Two sites could get the name of one, and a site whose process ended was waited for without end.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvflare.private.fed.app.simulator.simulator_runner import SimulatorClientRunner, SimulatorRunner

from fedgin.folders import MARK

NAME = "client_name"
STARTS = 3


class OwnNames(dict[str, Any]):
    """What the simulator tells a site's process, with the site's name as the sending thread has set it.

    FLARE 2.9 has a thread for each site. Each writes its site's name into one dictionary that all share, and sends that
    to the site's process (``SimulatorClientRunner.do_one_task``). When two threads do so at once, both processes are
    told the same name, and the job fails in its first round: one of 19 arms of a study did.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._own = threading.local()

    def __setitem__(self, key: str, value: object) -> None:
        """Keep a name for the calling thread alone."""
        if key == NAME:
            self._own.name = value
        else:
            super().__setitem__(key, value)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Let a plain dictionary with the calling thread's name be sent."""
        return dict, ({**self, NAME: self._own.name},)


class SiteRunner(SimulatorClientRunner):
    """Runs the sites, each in a process, which is started again where it ended before the job.

    FLARE 2.9 gives the process 60 s to start and 10 s to reach the server, which a busy machine can exceed. When it is
    gone, its thread ends without a word to the server, which waits for that site's answer: in an evaluation 12 hours.

    Args:
        given: what FLARE's own class is given.
        running: whether the server's job still runs.
        abort: ends that job.
    """

    def __init__(self, *given: Any, running: Callable[[], bool], abort: Callable[[], object]) -> None:
        super().__init__(*given)
        self.running, self.abort = running, abort

    def do_one_task(self, client: Any, *given: Any, **named: Any) -> tuple[bool, Any, str | None]:
        """Run a site until its thread shall take another; the job ends when its process has ended too often."""
        for start in range(1, STARTS + 1):
            try:
                stop, following, ended = super().do_one_task(client, *given, **named)
            except (OSError, RuntimeError, EOFError) as error:
                self.logger.warning(f"site {client.client_name}: {error}")
                stop, following, ended = True, None, None
            # Who heard of the job's end says which site it is; one that is gone leaves no site to go on with.
            if not stop or (following and ended) or not self.running():
                return stop, following, ended
            self.logger.warning(f"the process of site {client.client_name} ended before the job, start {start}")
        self.logger.error(f"the process of site {client.client_name} ended before the job, {STARTS} times")
        self.abort()
        return True, None, client.client_name


class Simulator(SimulatorRunner):
    """The stock simulator; each of its threads has a name of its own to send, and no site is lost silently."""

    build_ctx: dict[str, Any]
    simulator_root: str
    server: Any

    def _cleanup_workspace(self) -> None:
        """Empty the workspace but for its mark, without which no later run may use it again."""
        mark = Path(self.simulator_root) / MARK
        kept = mark.read_bytes()
        super()._cleanup_workspace()
        mark.write_bytes(kept)

    def client_run(self, server_custom_folder: str, clients: list[Any], gpu: str | None) -> None:
        """Run the sites."""
        given = (server_custom_folder, self.args, clients, self.client_config, self.deploy_args)
        job = self.server.server_runner
        SiteRunner(
            *given, OwnNames(self.build_ctx), running=lambda: job.status == "started", abort=self.server.abort_run
        ).run(gpu)
