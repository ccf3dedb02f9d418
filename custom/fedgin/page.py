"""The look that all pages share: one file each, which needs no other file, no script and no network."""

import functools
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jinja2

from fedgin.files import write_text
from fedgin.manifest import package_hash

PACKAGES = ("fedgin", "nvflare", "monai", "torch", "numpy")


@dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Attributes:
        text: a sentence or two.
        tone: whether it is good news, bad news, or neither.
    """

    text: str
    tone: Literal["good", "bad", "plain"] = "plain"


def write_page(path: Path, template: str, package: str, context: Mapping[str, Any]) -> Path:
    """Write a page, whole or not at all; return its path.

    Args:
        path: of the page.
        template: in ``package/templates``; extends ``base.html``.
        package: whose template it is, such as ``fedgin.report``.
        context: of the template; ``verdict`` is shown first, and ``refresh`` is the seconds after which a browser
            reads the page again.
    """
    shared = {"about": _about(), "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "refresh": 0}
    write_text(path, template_environment(package).get_template(template).render(shared | dict(context)))
    return path


@functools.cache  # it keeps its compiled templates; a followed job's page is written again with every round
def template_environment(package: str) -> jinja2.Environment:
    """Return the environment of a package's templates, with the shared ones behind them."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("fedgin")]),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = in_words
    environment.filters["model"] = model_in_words
    environment.filters["settings"] = settings_rows
    return environment


def in_words(name: str) -> str:
    """Return a name as it is read.

    >>> in_words("left_kidney")
    'left kidney'
    """
    return name.replace("_", " ")


def model_in_words(name: str) -> str:
    """Return what a model of FLARE's cross-site evaluation is.

    >>> [model_in_words(name) for name in ("SRV_FL_global_model.pt", "best_FL_global_model.pt", "site-1")]
    ['last round', 'best by validation', "site-1's own"]
    """
    known = {"FL_global_model.pt": "last round", "best_FL_global_model.pt": "best by validation"}
    plain = name.removeprefix("SRV_")
    return known.get(plain, plain if plain.endswith(".pt") else f"{name}'s own")


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value.

    >>> sorted(["site-10", "site-2"], key=natural_order)
    ['site-2', 'site-10']
    """
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def settings_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings as rows of a table, in their order: the key with its section before it, and the value.

    >>> settings_rows({"seed": 1, "network": {"name": "unet", "params": {}}, "organs": ["liver", "spleen"]})
    [('seed', '1'), ('network.name', 'unet'), ('network.params', 'none'), ('organs', 'liver, spleen')]
    >>> settings_rows({"kernel_sizes": [[1, 3, 3], 3]})  # lists within a list stay apart
    [('kernel_sizes', '1 x 3 x 3, 3')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += [(f"{key}.{name}", text) for name, text in settings_rows(value)]
        else:
            rows.append((key, _value(value)))
    return rows


def _value(value: object, between: str = ", ") -> str:
    if isinstance(value, list | tuple) and value:
        return between.join(_value(item, " x ") for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value in ({}, [], ()) else str(value)


@functools.cache  # of what runs, also where another version is installed meanwhile
def _about() -> Mapping[str, str]:
    """Return what made a page: versions, the installed package's hash and the machine."""
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "fedgin SHA-256": package_hash(),
    }
