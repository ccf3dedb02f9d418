"""What a hospital says of its DICOM node: ``node.yaml``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from fedgin.config import Settings, load_settings, spelt

# DICOM PS3.5, 6.2: at most 16 characters, no backslash, no control character.
AETitle = Annotated[
    str,
    StringConstraints(
        pattern=spelt(r"^[ -\[\]-~]{1,16}$", "up to 16 plain characters without a backslash"),
        strip_whitespace=True,
        min_length=1,
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class Destination(Settings):
    """The archive that gets SEG and SR.

    Attributes:
        ae_title: of the archive.
        host: its name or address.
        port: its DICOM port.
        tls: whether to connect with TLS, with the node's own certificate.
    """

    ae_title: AETitle
    host: str = Field(min_length=1, max_length=255)
    port: Port
    tls: bool = False


class Tls(Settings):
    """Certificate, key and trusted authority as PEM files; who connects must have a certificate of the authority."""

    certificate: Path
    key: Path
    authority: Path


class Limits(Settings):
    """How much may come in.

    Attributes:
        study_mb: of one study.
        spool_mb: of everything that waits.
        associations: open at once.
    """

    study_mb: int = Field(default=4_000, ge=1)
    spool_mb: int = Field(default=40_000, ge=1)
    associations: int = Field(default=8, ge=1, le=100)


class NodeSettings(Settings):
    """The whole ``node.yaml``.

    Attributes:
        ae_title: of this node.
        address: to listen on; another than loopback is for the hospital to choose.
        port: to listen on.
        known: AE titles that may send; everybody else is rejected.
        destination: where results go.
        spool: folder of what was received and is to be sent. It holds patient data, as an archive does.
        quiet_seconds: a study is complete when nothing of it came for so long, and no sender is still connected.
        keep_hours: how long a study stays in the spool after its results were sent, or could not be made.
        tls: for those who send, and for the destination if it has ``tls``; nothing means plain DICOM.
        limits: on what comes in.
    """

    ae_title: AETitle = "FEDGIN"
    address: str = "127.0.0.1"
    port: Port = 11112
    known: list[AETitle] = Field(min_length=1)
    destination: Destination
    spool: Path
    quiet_seconds: float = Field(default=10.0, ge=0.5, le=3600.0)
    keep_hours: float = Field(default=24.0, ge=0.0)
    tls: Tls | None = None
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _who_sends_with_tls_has_a_certificate(self) -> "NodeSettings":
        if self.destination.tls and self.tls is None:
            raise ValueError(
                "destination.tls is true, but the node has no certificate: give certificate, key and authority in 'tls'"
            )
        return self


def load_node(path: Path) -> NodeSettings:
    """Read ``node.yaml``; a relative ``spool`` or PEM file lies beside it.

    Raises:
        ConfigError: the file is missing, or a key is unknown, missing or out of range.
    """
    settings = load_settings(path, NodeSettings)
    home = path.resolve().parent
    changes: dict[str, object] = {"spool": home / settings.spool}
    if settings.tls is not None:
        files = {name: home / file for name, file in settings.tls}
        changes["tls"] = settings.tls.model_copy(update=files)
    return settings.model_copy(update=changes)
