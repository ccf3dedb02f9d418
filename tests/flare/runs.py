"""What tests of a job's parts need: a FLARE context, a start of the run, a store of jobs."""

from typing import Any
from unittest.mock import create_autospec

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage

from poc.run_context import JOB, NUMBERS, came_from, lay_out, lay_out_server, make_context

__all__ = ["JOB", "NUMBERS", "came_from", "lay_out", "lay_out_server", "make_context", "serve_jobs", "start"]


def start(component: FLComponent, context: FLContext) -> None:
    """Tell a component that the run starts."""
    component.handle_event(EventType.START_RUN, context)


def serve_jobs(context: FLContext, manager: SimpleJobDefManager) -> tuple[Any, FilesystemStorage]:
    """Give a context the engine of a server with FLARE's own job store; return engine and store."""
    store = FilesystemStorage()
    engine = create_autospec(ServerEngineSpec, instance=True)
    engine.get_component = {"job_manager": manager, "job_store": store}.get
    context.set_prop(ReservedKey.ENGINE, engine, private=True, sticky=False)
    return engine, store
