from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fedgin.flare.provisioning.federation import load_federation
from tests.fuzz.mutations import as_yaml, damaged, explains, fuzz, raw, spliced

pytestmark = pytest.mark.timeout(300)
FEDERATION: dict[str, Any] = {
    "project": "organs",
    "server": {"host": "h.example.org", "organisation": "trial", "contact": "a@b.org", "storage": "/var/lib/fedgin"},
    "sites": [{"name": "a", "organisation": "a", "modality": "CT", "contact": "a@b.org", "gpus": 1}],
    "people": [{"email": "c@b.org", "organisation": "trial", "role": "project_admin", "withdrawn": False}],
}
TEXT = b"""project: organs
server: {host: h.example.org, organisation: trial, contact: a@b.org}
sites:
  - {name: a, organisation: a, modality: CT, contact: a@b.org}
people:
  - {email: c@b.org, organisation: trial, role: project_admin}
"""


@fuzz("federation")
@given(content=damaged(FEDERATION).map(as_yaml) | spliced(TEXT) | raw)
def test_a_federation_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "sites.yaml"
    path.write_bytes(content)

    def read() -> None:
        names = [item.name for item in load_federation(path).everyone]
        assert all(name.isascii() and name.isprintable() and not set(name) & set("/\\ '\"") for name in names)

    explains(read)


@pytest.mark.parametrize(
    "host", ["\u212a.org", "\u017ferver", "h.org\n", "-a.org", "a..b", "10.0.0.1", "::1", "a" * 64, "a b"]
)
def test_a_host_is_a_name_of_dns(tmp_path: Path, host: str) -> None:
    path = tmp_path / "sites.yaml"
    path.write_bytes(as_yaml(FEDERATION | {"server": FEDERATION["server"] | {"host": host}}))
    assert not explains(lambda: load_federation(path))
