"""FLARE's simulator, without some of its faults, and in a folder that stays ours.

Two sites could get the name of one, two simulators the port of one, one site two processes, and a site whose process
ended was waited for without end.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from nvflare.apis.fl_constant import MachineStatus
from nvflare.private.fed.app.simulator import simulator_runner
from nvflare.private.fed.app.simulator.simulator_runner import SimulatorClientRunner, SimulatorRunner

from fedgin.flare.run.simulated_sites import SimulatedSites
from fedgin.flare.run.site_line import SiteLine
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
        running: whether the server's job is not over yet.
        abort: ends that job.
        processes: of the sites.
    """

    run_client_index: int

    def __init__(
        self, *given: Any, running: Callable[[], bool], abort: Callable[[], object], processes: SimulatedSites
    ) -> None:
        super().__init__(*given)
        self.running, self.abort, self.processes = running, abort, processes
        self._own = threading.local()
        self._chosen: dict[int, Any] = {}  # by the thread that runs it now, or next

    def get_next_run_client(self, gpu: str | None) -> Any:
        """Return a site that no other thread has chosen; where there is none, the thread's own goes on.

        FLARE holds its lock here, but marks a site a second later. Two threads could start a process each for one.
        """
        thread = threading.get_ident()
        others = [site for other, site in self._chosen.items() if other != thread]
        for _ in self.federated_clients:
            self.run_client_index = (self.run_client_index + 1) % len(self.federated_clients)
            site = self.federated_clients[self.run_client_index]
            if not site.simulate_running and site not in others:
                self._chosen[thread] = site
                break
        return self._chosen[thread]

    def run_client_thread(self, *given: Any, **named: Any) -> None:
        """Run sites one after the other; the job ends when their thread does, for whatever reason."""
        super().run_client_thread(*given, **named)
        if self.running():
            self.logger.error(f"site {self._own.site} has left the job, which waits for it")
            self.abort()

    def _create_connection(self, open_port: int, timeout: float = 0.0) -> SiteLine:
        """Wait for the process that this thread has just started, for as long as a busy machine may need."""
        process = self.processes.last_started()
        try:
            return SiteLine(process, open_port, self.running)
        except Exception:  # FLARE would let it run
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            raise

    def do_one_task(self, client: Any, *given: Any, **named: Any) -> tuple[bool, Any, str | None]:
        """Run a site until its thread shall take another; the job ends when its process has ended too often."""
        self._own.site = client.client_name
        for start in range(1, STARTS + 1):
            try:
                stop, following, ended = super().do_one_task(client, *given, **named)
            except Exception as error:  # of whatever kind: nobody else would hear of it
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
    deployer: Any

    def run(self) -> int:
        """Run the job; return 0 where it was not ended by an error."""
        with _reserved_port() as held:
            self.deployer.open_ports = [held.getsockname()[1]]
            return int(super().run())

    def _cleanup_workspace(self) -> None:
        """Empty the workspace but for its mark, without which no later run may use it again."""
        mark = Path(self.simulator_root) / MARK
        kept = mark.read_bytes()
        super()._cleanup_workspace()
        mark.write_bytes(kept)

    def client_run(self, server_custom_folder: str, clients: list[Any], gpu: str | None) -> None:
        """Run the sites."""
        given = (server_custom_folder, self.args, clients, self.client_config, self.deploy_args)
        simulator_runner.subprocess = processes = SimulatedSites()
        ours = {"running": self._runs, "abort": self.server.abort_run, "processes": processes}
        SiteRunner(*given, OwnNames(self.build_ctx), **ours).run(gpu)

    def _runs(self) -> bool:
        """Say whether the job is not over; one that the server could not start is, though FLARE calls it "init"."""
        server = self.server
        return server.server_runner.status != "done" and server.engine.engine_info.status != MachineStatus.STOPPED


def _reserved_port() -> socket.socket:
    """Return a socket whose port nobody else gets; FLARE's server, which shares addresses, can listen on it.

    FLARE chooses one that is free, and takes it seconds later. When another has it by then, such as the server of
    another simulator on this machine, the sites work for that one.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
