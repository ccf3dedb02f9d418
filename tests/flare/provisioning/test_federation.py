from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedgin.config import parse_settings
from fedgin.errors import ConfigError
from fedgin.flare.provisioning.federation import Federation, load_federation
from tests.places import ROOT

EXAMPLE = ROOT / "provisioning" / "sites.yaml"


def values() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return loaded


def parse(changed: dict[str, Any]) -> Federation:
    return parse_settings(changed, Federation, source="sites.yaml")


def test_the_example_is_valid_and_lists_every_role() -> None:
    federation = load_federation(EXAMPLE)
    assert {person.role.value for person in federation.people} == {"project_admin", "lead", "org_admin", "member"}
    assert len(list(federation.active())) == 7


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("project",), "abdomen-v2", "version"),
        (("project",), "abdomen-1-0", "version"),
        (("project",), "Abdomen", "expected small letters"),
        (("validity_days",), 7, "validity_days"),
        (("validity_days",), 5000, "validity_days"),
        (("server", "host"), "10.0.0.7", "host's name"),
        (("server", "host"), "two words", "host name"),
        (("server", "host"), "-bad.example.org", "host name"),
        (("server", "host_names"), ["two words"], "host name"),
        (("server", "host_names"), ["fd00::7"], "IPv6"),
        (("sites", 0, "connect_to"), "10.0.0.7", "Add it to server.host_names"),
        (("people", 0, "connect_to"), "elsewhere.example.org", "not in the server's certificate"),
        (("server", "port"), 80, "port"),
        (("server", "storage"), "relative/folder", "absolute"),
        (("sites", 0, "name"), "server", "FLARE's own"),
        (("sites", 0, "name"), "hospital/a", "expected small letters"),
        (("sites", 0, "name"), "hospital-b", "given twice"),
        (("sites", 0, "modality"), "US", "modality"),
        (("sites", 0, "organisation"), "two words", "organisation"),
        (("sites", 0, "color"), "red", "unknown key"),
        (("people", 0, "role"), "root", "role"),
        (("people", 0, "role"), "lead", "project_admin"),
        (("people", 0, "email"), "nobody", "email"),
        (("people", 0, "withdrawn"), True, "project_admin"),
    ],
)
def test_faults_are_named(path: tuple[Any, ...], value: object, message: str) -> None:
    changed = values()
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        parse(changed)


def test_names_that_differ_in_case_only_clash() -> None:
    changed = values()
    changed["server"]["host"] = "Hospital-A"
    with pytest.raises(ConfigError, match="given twice"):
        parse(changed)


JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*values(), "other"]), JSON))
def test_anything_else_is_one_clear_error(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(values() | changed | {"unknown": 1})


@given(st.text(max_size=70))
def test_a_host_is_a_name_or_refused(host: str) -> None:
    changed = values()
    changed["server"]["host"] = host
    try:
        accepted = parse(changed).server.host
    except ConfigError:
        return
    assert all(
        part and set(part.lower()) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for part in accepted.split(".")
    )
