"""FLARE's project file, made from ours."""

from pathlib import Path

from fedgin.flare.provisioning.federation import Federation, Person, Site

# The root outlives every certificate it signs; FLARE cannot renew it in place.
ROOT_VALID_DAYS = 3650
LIGHTER = "nvflare.lighter.impl"
BUILDERS = "fedgin.flare.provisioning.builders"


def make_project(federation: Federation, policies: Path, encryption_keys: Path) -> dict[str, object]:
    """Return the content of ``project.yml`` for ``nvflare provision``.

    Args:
        federation: who takes part; withdrawn participants are left out.
        policies: folder with ``server/`` and ``site/``.
        encryption_keys: folder in which the keys of the encryption are kept between runs.
    """
    return {
        "api_version": 3,
        "name": federation.project,
        "description": "FedGIN: federated cross-modality segmentation",
        "participants": [server_participant(federation), *(participant(item) for item in federation.active())],
        "builders": _builders(federation, policies, encryption_keys),
    }


def server_participant(federation: Federation) -> dict[str, object]:
    """Return the server as FLARE's project file describes it."""
    server = federation.server
    return {
        "name": server.host,
        "type": "server",
        "org": server.organisation,
        "fed_learn_port": server.port,
        "admin_port": server.port,
        "host_names": list(server.host_names),
    }


def participant(item: Site | Person) -> dict[str, object]:
    """Return a site or a person as FLARE's project file describes it."""
    route = {} if item.connect_to is None else {"connect_to": {"host": item.connect_to}}
    if isinstance(item, Person):
        return {"name": item.email, "type": "admin", "org": item.organisation, "role": item.role.value, **route}
    return {
        "name": item.name,
        "type": "client",
        "org": item.organisation,
        "modality": item.modality.value,
        # A site's error log may hold paths and names of its files; FLARE's default would copy it to the server.
        "allow_log_streaming": False,
        "capacity": {"num_of_gpus": item.gpus, "mem_per_gpu_in_GiB": item.gpu_memory_gib},
        **route,
    }


def static_files() -> dict[str, object]:
    """Return FLARE's builder of start scripts and settings; it makes job signatures mandatory."""
    args = {"config_folder": "config", "scheme": "grpc", "require_signed_jobs": True}
    return {"path": f"{LIGHTER}.static_file.StaticFileBuilder", "args": args}


def policy_builder(federation: Federation, policies: Path) -> dict[str, object]:
    """Return our builder of policies and manifest."""
    args = {
        "policies": str(policies),
        "storage": str(federation.server.storage / federation.project),
        "withdrawn": [site.name for site in federation.sites if site.withdrawn],
    }
    return {"path": f"{BUILDERS}.PolicyBuilder", "args": args}


def _builders(federation: Federation, policies: Path, encryption_keys: Path) -> list[dict[str, object]]:
    return [
        {"path": f"{LIGHTER}.workspace.WorkspaceBuilder", "args": {}},
        static_files(),
        {
            "path": f"{BUILDERS}.DatedCertBuilder",
            "args": {"valid_days": federation.validity_days, "root_valid_days": ROOT_VALID_DAYS},
        },
        policy_builder(federation, policies),
        *_encryption_builder(federation, encryption_keys),
        {"path": f"{BUILDERS}.KitSignatureBuilder", "args": {}},
    ]


def _encryption_builder(federation: Federation, folder: Path) -> list[dict[str, object]]:
    if federation.encryption_key is None:
        return []
    file = folder / f"encryption_key_{federation.encryption_key}.tenseal"
    return [{"path": "fedgin.flare.provisioning.encryption_key.EncryptionKeyBuilder", "args": {"file": str(file)}}]
