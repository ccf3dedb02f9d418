"""Real runs of FLARE's provisioning with a key for encrypted jobs."""

from pathlib import Path

import tenseal

from fedgin.flare.jobs.encryption_key import SERVER_KEY, SITE_KEY
from fedgin.flare.provisioning.kits import issue_kits
from tests.flare.provisioning.kits import POLICIES, by_status, content, plan, unpacked


def test_sites_share_a_key_of_which_the_server_has_the_public_part(tmp_path: Path) -> None:
    out = tmp_path / "kits"
    issue_kits(plan(), POLICIES, out)
    before = content(out)
    rows = by_status(issue_kits(plan(encryption_key=1), POLICIES, out))
    people = {item.email for item in plan().people}
    assert {name for name, status in rows.items() if status == "changed"} == rows.keys() - people
    assert {name: data for name, data in content(out).items() if data == before[name]}.keys() == {
        f"{name}.tar.gz" for name in people
    }
    first = {name: key_of(out, name, tmp_path / "first") for name in ("hospital-a", "hospital-c")}
    assert first["hospital-a"] == first["hospital-c"]
    assert tenseal.context_from(first["hospital-a"]).has_secret_key()
    server = unpacked(out, "fedgin.example.org", tmp_path / "first") / "startup"
    assert not tenseal.context_from((server / SERVER_KEY).read_bytes()).has_secret_key()
    assert not (server / SITE_KEY).exists()

    issue_kits(plan(encryption_key=1), POLICIES, out, renew=["hospital-a"])
    assert key_of(out, "hospital-a", tmp_path / "renewed") == first["hospital-a"]
    issue_kits(plan(encryption_key=2), POLICIES, out)
    assert key_of(out, "hospital-a", tmp_path / "second") != first["hospital-a"]


def key_of(out: Path, name: str, folder: Path) -> bytes:
    startup = unpacked(out, name, folder) / "startup"
    assert SITE_KEY in (startup / "signature.json").read_text()
    return (startup / SITE_KEY).read_bytes()
