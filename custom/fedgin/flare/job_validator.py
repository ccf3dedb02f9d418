"""What a job may be: checked by the server when it is submitted, and by every site before it is deployed there.

FLARE enforces the class allow-list as well, but only when the job's process starts; the reason then stays in the log of
that site and the whole job ends. A validator's answer goes back to the project lead with the name of the site.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvflare.apis.app_validation import AppValidator

from fedgin.data.site import load_site
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.allow_list import ALLOWED_CLASSES
from fedgin.manifest import check_manifest
from fedgin.train.experiment import load_experiment

# FLARE adds the last two when it signs a job.
PLAIN_FILES = (".json", ".yaml")
SIGNATURE_FILES = {".__nvfl_sig.json", ".__nvfl_submitter.crt"}
SERVER_CONFIG, CLIENT_CONFIG = "config_fed_server.json", "config_fed_client.json"
# Keys under which FLARE's configurations name something to import.
CLASS_KEYS = ("path", "class_path", "name")


class JobValidator(AppValidator):
    """Refuse a job that carries code, names a class that is not allowed, or does not fit this participant.

    Nothing of the job is imported or run: only classes of the allow-list are imported, to see that they are installed.

    Args:
        kit: the unpacked kit; by default the working folder, in which FLARE's own start runs server and sites.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()

    def validate(self, app_folder: str) -> tuple[str, dict[str, object]]:
        """Return the first cause and its fix, or an empty text.

        Args:
            app_folder: the application's folder, with ``config`` in it.
        """
        try:
            check_manifest(self.kit / "startup")
            _check_files(Path(app_folder))
            _check_classes(Path(app_folder) / "config")
            load_experiment(Path(app_folder) / "config" / "experiment.yaml")
            if (self.kit / "startup" / "fed_client.json").is_file():
                load_site(self.kit / "local" / "site.yaml")
        except FedginError as error:
            # Paths of this machine are nobody's business: the text goes to the project lead.
            text = str(error).replace(str(Path(app_folder).resolve()), "app").replace(app_folder, "app")
            return text.replace(f"{self.kit}/", ""), {}
        return "", {}


def _check_files(app: Path) -> None:
    for path in sorted(app.rglob("*")):
        name = path.relative_to(app).as_posix()
        if path.is_symlink() or (path.is_dir() and name != "config"):
            raise ConfigError(f"the job carries '{name}'", "a job has settings only, in app/config")
        if path.is_file() and path.suffix not in PLAIN_FILES and path.name not in SIGNATURE_FILES:
            raise ConfigError(
                f"the job carries '{name}'", "a job has JSON and YAML only; code is installed at the sites"
            )


def _check_classes(config: Path) -> None:
    for name in (SERVER_CONFIG, CLIENT_CONFIG):
        for path in _named_classes(_read(config / name)):
            if path not in ALLOWED_CLASSES:
                raise ConfigError(
                    f"{name} names '{path[:120]}', which is not on the class allow-list",
                    "use the classes of the jobs of this package",
                )
            _check_installed(path)


def _named_classes(element: Any) -> Iterator[str]:
    """Yield every class path of a configuration, however deep."""
    if isinstance(element, dict):
        named = [element[key] for key in CLASS_KEYS if isinstance(element.get(key), str)]
        # A 'name' is a class only where FLARE would take it for one: beside arguments.
        yield from (value for value in named if "." in value or "args" in element)
        element = list(element.values())
    if isinstance(element, list):
        for item in element:
            yield from _named_classes(item)


def _check_installed(path: str) -> None:
    module, _, attribute = path.rpartition(".")
    try:
        found = hasattr(importlib.import_module(module), attribute)
    except ImportError as error:
        missing = error.name or module
        raise ConfigError(
            f"'{path}' cannot be imported here: module '{missing}' is missing",
            "install the pinned requirements of this package at this site",
        ) from None
    if not found:
        raise ConfigError(f"'{path}' does not exist here", "install the version of this package that the kit expects")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ConfigError(f"{path.name}: missing or not readable as JSON", "start from a folder under jobs/") from None
