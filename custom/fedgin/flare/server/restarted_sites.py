"""A site that was started again has lost its part in the jobs that run; they are told."""

from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import RunProcessKey
from nvflare.apis.fl_context import FLContext


class RestartedSites(FLComponent):
    """Part of the server kit's ``resources.json``.

    A site that loses power and comes back before its heartbeats are missed logs in under a new token, and FLARE
    forgets the old one. Stock FLARE 2.9 tells a job of a dead site by the token under which the site was there when
    the job started. So nobody tells the job, and it waits for an answer that never comes. Here the site's part in each
    job moves to the new token: then FLARE itself tells the job, with each heartbeat that does not name it, that the
    site has lost it. The job ends, or goes on without the site where ``min_clients`` others are left.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Look at the jobs each time that a site has logged in, and when one has been started meanwhile."""
        if event_type in (EventType.CLIENT_REGISTER_PROCESSED, EventType.JOB_STARTED):
            engine: Any = fl_ctx.get_engine()
            # Two sites may log in at once, and heartbeats of others look at the same.
            with engine.server._job_reported_clients_lock:
                now = {client.name: client for client in list(engine.server.client_manager.clients.values())}
                for job_id, process in list(engine.run_processes.items()):
                    self._move(engine, job_id, process, now)

    def _move(self, engine: Any, job_id: str, process: dict[str, Any], now: dict[str, Any]) -> None:
        at_the_start = process.get(RunProcessKey.PARTICIPANTS) or {}
        clients = [now.get(client.name, client) for client in at_the_start.values()]
        moved = {client.token: client for client in clients}
        restarted = moved.keys() - at_the_start.keys()
        if not restarted:
            return
        process[RunProcessKey.PARTICIPANTS] = moved  # in one step: what it was is being read without the lock
        # FLARE believes that a job is lost where it was known to run.
        engine.server._job_reported_clients.setdefault(job_id, set()).update(restarted)
        for token in restarted:
            site = moved[token].name
            # Nothing more comes of it. FLARE would wait for that, and call a job that went on without it a failure.
            engine.job_runner.resolve_client_outcome(job_id, site)
            self.logger.error(f"site {site} was started again and has no part in job {job_id} any more")
