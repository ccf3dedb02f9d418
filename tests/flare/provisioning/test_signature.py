import datetime
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from nvflare.fuel.sec.security_content_service import SecurityContentManager
from nvflare.lighter.utils import sign_folders

from fedgin.data.validation import Severity
from fedgin.flare.provisioning.signature import SignatureError, changed_files, check_signature
from fedgin.flare.provisioning.signature_finding import examine_signature
from fedgin.manifest import add_file_names

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def startup(tmp_path: Path) -> Path:
    """A folder that FLARE signed with the root's key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "project")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    root = builder.sign(KEY, hashes.SHA256())
    (tmp_path / "rootCA.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (tmp_path / "start.sh").write_text("echo")
    (tmp_path / "fed_server.json").write_text("{}")
    sign_folders(str(tmp_path), KEY, signature_file="signature.json")
    return tmp_path


def test_a_signed_folder_passes(startup: Path) -> None:
    (finding,) = examine_signature(startup)
    assert (finding.severity, finding.message) == (Severity.PASS, "all 3 files are as they were signed")


def test_changed_missing_and_added_files_are_all_named(startup: Path) -> None:
    (startup / "start.sh").write_text("echo changed")
    (startup / "fed_server.json").unlink()
    (startup / "added.sh").write_text("echo")
    (finding,) = examine_signature(startup)
    assert finding.severity is Severity.FAIL
    assert "not as signed: added.sh, fed_server.json, start.sh;" in finding.message


@pytest.mark.parametrize("gone", ["start.sh", "fed_server.json"])
def test_a_file_that_is_gone_from_folder_and_signature_is_named(startup: Path, gone: str) -> None:
    """FLARE signs each file, and not which there are."""
    (startup / "fedgin.json").write_text("{}")
    add_file_names(startup)
    sign_folders(str(startup), KEY, signature_file="signature.json")
    assert changed_files(startup) == []
    (startup / gone).unlink()
    left = json.loads((startup / "signature.json").read_text())
    del left[gone]
    (startup / "signature.json").write_text(json.dumps(left))
    assert changed_files(startup) == [gone]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"files": [[]]}', "[" * 100_000])
def test_a_manifest_without_names_adds_none(startup: Path, text: str) -> None:
    (startup / "fedgin.json").write_text(text)
    assert changed_files(startup) == ["fedgin.json"]


def test_a_folder_without_a_signature_is_a_warning(startup: Path) -> None:
    (startup / "signature.json").unlink()
    assert examine_signature(startup)[0].severity is Severity.WARN


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"start.sh": 1}), json.dumps({"start.sh": "no base64"})])
def test_a_damaged_signature_is_a_finding(startup: Path, text: str) -> None:
    (startup / "signature.json").write_text(text)
    assert examine_signature(startup)[0].severity is Severity.FAIL


@pytest.mark.parametrize("linked", [False, True])
def test_flare_starts_from_a_folder_as_it_was_signed(startup: Path, linked: bool) -> None:
    """A kit whose workspace is another folder is reached by a link."""
    link = startup.with_name(f"link-to-{startup.name}")
    link.symlink_to(startup)
    check_signature(link if linked else startup)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda startup: (startup / "start.sh").write_text("echo changed"), "start.sh"),
        (lambda startup: (startup / "fed_server.json").unlink(), "fed_server.json"),
        (lambda startup: (startup / "added.sh").write_text("echo"), "added.sh"),
        (lambda startup: (startup / "added").mkdir(), "added"),
        (lambda startup: (startup / "linked.sh").symlink_to("start.sh"), "linked.sh"),
        (lambda startup: (startup / "signature.json").unlink(), "signature.json"),
        (lambda startup: (startup / "rootCA.pem").unlink(), "rootCA.pem"),
        (lambda startup: os.mkfifo(startup / "pipe"), "pipe"),
        (lambda startup: (startup / ".hidden").touch(), ".hidden"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flare_does_not_start_from_any_other_folder(
    startup: Path, change: Callable[[Path], object], named: str
) -> None:
    change(startup)
    with pytest.raises(SignatureError) as refused:
        check_signature(startup)
    assert refused.value.problem == f"startup/ was changed after it was signed: {named}"


def test_a_file_that_this_user_may_not_read_is_not_called_changed(
    startup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root could read it all the same, and so no mode is changed here."""

    def refuse(manager: object, name: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(startup / name))

    monkeypatch.setattr(SecurityContentManager, "load_content", refuse)
    with pytest.raises(SignatureError, match=r"fed_server\.json cannot be read \(Permission denied\)"):
        check_signature(startup)
    assert examine_signature(startup)[0].severity is Severity.FAIL


def test_flare_does_not_start_where_the_root_s_certificate_is_damaged(startup: Path) -> None:
    (startup / "rootCA.pem").write_text("")
    with pytest.raises(SignatureError, match="the kit's signature or root certificate cannot be read"):
        check_signature(startup)
