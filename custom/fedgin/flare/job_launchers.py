"""How a kit starts FLARE's process of a job: by :mod:`fedgin.flare.process`.

FLARE's own parts start the module itself.
"""

from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher

from fedgin.flare.process import MODULE


class SiteJobLauncher(ClientProcessJobLauncher):
    """Starts a job's process at a site."""

    def get_command(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> str:
        """Return the command as one line for a shell."""
        return _by_our_module(super().get_command(job_meta, fl_ctx))


class ServerJobLauncher(ServerProcessJobLauncher):
    """Starts a job's process at the server."""

    def get_command(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> str:
        """Return the command as one line for a shell."""
        return _by_our_module(super().get_command(job_meta, fl_ctx))


def _by_our_module(command: str) -> str:
    started = "-m nvflare."
    if command.count(started) != 1:
        raise RuntimeError(f"FLARE starts jobs in another way than it did: {command}")
    return command.replace(started, f"-m {MODULE} nvflare.")
