"""FLARE's project file, made from ours."""

from pathlib import Path

from fedgin.flare.provisioning.plan import Federation, Person, Site

# The root outlives every certificate it signs; FLARE cannot renew it in place.
ROOT_VALID_DAYS = 3650
BUILDERS = "fedgin.flare.provisioning.builders"


def make_project(federation: Federation, policies: Path) -> dict[str, object]:
    """Return the content of ``project.yml`` for ``nvflare provision``.

    Args:
        federation: who takes part; withdrawn participants are left out.
        policies: folder with ``server/`` and ``site/``.
    """
    return {
        "api_version": 3,
        "name": federation.project,
        "description": "FedGIN: federated cross-modality segmentation",
        "participants": [_server(federation), *(_participant(item) for item in federation.active())],
        "builders": _builders(federation, policies),
    }


def _server(federation: Federation) -> dict[str, object]:
    server = federation.server
    return {
        "name": server.host,
        "type": "server",
        "org": server.organisation,
        "fed_learn_port": server.port,
        "admin_port": server.port,
    }


def _participant(item: Site | Person) -> dict[str, object]:
    if isinstance(item, Person):
        return {"name": item.email, "type": "admin", "org": item.organisation, "role": item.role.value}
    return {
        "name": item.name,
        "type": "client",
        "org": item.organisation,
        "modality": item.modality.value,
        # A site's error log may hold paths and names of its files; FLARE's default would copy it to the server.
        "allow_log_streaming": False,
        "capacity": {"num_of_gpus": item.gpus, "mem_per_gpu_in_GiB": item.gpu_memory_gib},
    }


def _builders(federation: Federation, policies: Path) -> list[dict[str, object]]:
    lighter = "nvflare.lighter.impl"
    return [
        {"path": f"{lighter}.workspace.WorkspaceBuilder", "args": {}},
        {
            "path": f"{lighter}.static_file.StaticFileBuilder",
            "args": {"config_folder": "config", "scheme": "grpc", "require_signed_jobs": True},
        },
        {
            "path": f"{BUILDERS}.DatedCertBuilder",
            "args": {"valid_days": federation.validity_days, "root_valid_days": ROOT_VALID_DAYS},
        },
        {
            "path": f"{BUILDERS}.PolicyBuilder",
            "args": {
                "policies": str(policies),
                "storage": str(federation.server.storage / federation.project),
                "withdrawn": [site.name for site in federation.sites if site.withdrawn],
            },
        },
        {"path": f"{BUILDERS}.KitSignatureBuilder", "args": {}},
    ]
