"""FLARE's simulator, without a race in which two sites get the name of one, and in a folder that stays ours."""

import threading
from pathlib import Path
from typing import Any

from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner

from fedgin.folders import MARK

NAME = "client_name"


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


class Simulator(SimulatorRunner):
    """The stock simulator; each of its threads has a name of its own to send."""

    build_ctx: dict[str, Any]
    simulator_root: str

    def _cleanup_workspace(self) -> None:
        """Empty the workspace but for its mark, without which no later run may use it again."""
        mark = Path(self.simulator_root) / MARK
        kept = mark.read_bytes()
        super()._cleanup_workspace()
        mark.write_bytes(kept)

    def client_run(self, server_custom_folder: str, clients: list[Any], gpu: str | None) -> None:
        """Run the sites."""
        self.build_ctx = OwnNames(self.build_ctx)
        super().client_run(server_custom_folder, clients, gpu)
