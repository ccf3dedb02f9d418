"""A FLARE context as a running job has it, in this process and around a workspace that is laid out here.

It lets a part of a job work without the seconds that FLARE needs to start its processes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import yaml
from nvflare.apis.client import Client
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ServerCommandKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from nvflare.apis.workspace import Workspace
from nvflare.fuel.f3.cellnet.registry import Registry

from fedgin.flare.jobs.configuration import flare_config
from fedgin.flare.jobs.files import CLIENT_CONFIG, EXPERIMENT, SERVER_CONFIG
from fedgin.flare.jobs.numbers import Numbers
from fedgin.train.experiment import Experiment

JOB = "job-1"
NUMBERS = Numbers(num_rounds=3, min_clients=1)


def lay_out(
    root: Path, site: str, experiment: Experiment, contract: Path | None = None, numbers: Numbers = NUMBERS
) -> Workspace:
    """Make a workspace with the job's application and, for a site, its contract."""
    for folder in ("startup", "local"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if contract is not None:
        values = yaml.safe_load(contract.read_text()) | {"data_root": str(contract.parent)}
        (root / "local" / "site.yaml").write_text(yaml.safe_dump(values))
    workspace = Workspace(str(root), site)
    config = Path(workspace.get_app_config_dir(JOB))
    config.mkdir(parents=True, exist_ok=True)
    # As people write it, and a third as long: PyYAML takes most of the time that a server in a test needs.
    (config / EXPERIMENT).write_text(yaml.safe_dump(experiment.model_dump(mode="json", exclude_defaults=True)))
    for name, content in zip((SERVER_CONFIG, CLIENT_CONFIG), flare_config(experiment, numbers), strict=True):
        (config / name).write_text(json.dumps(content))
    return workspace


def lay_out_server(root: Path, experiment: Experiment, min_clients: int = 1) -> Workspace:
    """Make the server's workspace, whose controller has one round and needs so many sites."""
    return lay_out(root, "server", experiment, numbers=Numbers(num_rounds=1, min_clients=min_clients))


def make_context(workspace: Workspace, identity: str, clients: Sequence[str] = ()) -> FLContext:
    """Return a context of ``JOB`` for one participant; ``clients`` are the sites that the job was deployed to."""
    manager = FLContextManager(identity_name=identity, job_id=JOB)
    context = manager.new_context()
    context.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True, sticky=False)
    engine = SimpleNamespace(
        get_workspace=lambda: workspace,
        get_cell=lambda: SimpleNamespace(byte_receiver=SimpleNamespace(registry=Registry())),
        get_clients=lambda: [SimpleNamespace(name=name) for name in clients],
        fire_event=lambda event, fl_ctx: None,
    )
    context.set_prop(ReservedKey.ENGINE, engine, private=True, sticky=False)
    return context


def came_from(site: str, result: Shareable) -> Shareable:
    """Mark a message as FLARE does when a site's session brought it and the site names itself rightly."""
    result.set_header(ServerCommandKey.FL_CLIENT, Client(site, "token"))
    result.set_peer_props({ReservedKey.IDENTITY_NAME: site})
    return result
