"""The receiving side of a DICOM node: C-ECHO and C-STORE with pynetdicom, from known senders only."""

import logging
import ssl
import threading
from collections import Counter
from typing import Any

from pydicom.uid import (
    AllTransferSyntaxes,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from fedgin.deploy.node.settings import NodeSettings, Tls
from fedgin.deploy.node.spool import Spool, SpooledStudy, study_key
from fedgin.errors import ConfigError

IMAGES = (CTImageStorage, MRImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage)
# DICOM PS3.4, C.4.1 (C-STORE): status codes of an answer.
SUCCESS, OUT_OF_RESOURCES, NO_STUDY = 0x0000, 0xA700, 0xA900

LOG = logging.getLogger("fedgin.node")


class Listener:
    """Receives images into a spool, and answers only when they are on disk.

    Args:
        settings: of the node.
        spool: where images go.
    """

    def __init__(self, settings: NodeSettings, spool: Spool) -> None:
        self.settings = settings
        self.spool = spool
        self._lock = threading.Lock()
        self._open: dict[Any, Counter[str]] = {}
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        """Listen, in threads of their own.

        Raises:
            ConfigError: the address cannot be had, or the TLS files cannot be read.
        """
        node = AE(ae_title=self.settings.ae_title)
        node.require_called_aet = True
        node.require_calling_aet = list(self.settings.known)
        node.maximum_associations = self.settings.limits.associations
        node.add_supported_context(Verification)
        for kind in IMAGES:
            node.add_supported_context(kind, list(AllTransferSyntaxes))
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_CONN_CLOSE, self._close),
            (evt.EVT_REJECTED, self._reject),
        ]
        place = (self.settings.address, self.settings.port)
        context = server_context(self.settings.tls) if self.settings.tls else None
        try:
            self._server = node.start_server(place, block=False, evt_handlers=handlers, ssl_context=context)
        except OSError as error:
            raise ConfigError(
                f"{place[0]}:{place[1]} cannot be listened on: {error.strerror}", "choose another port in node.yaml"
            ) from None

    def stop(self) -> None:
        """Close the door; associations that are open end."""
        if self._server is not None:
            self._server.shutdown()

    def is_sending(self, study: SpooledStudy) -> bool:
        """Tell whether somebody who has sent an image of the study is still connected."""
        with self._lock:
            return any(study.key in studies for studies in self._open.values())

    def _store(self, event: evt.Event) -> int:
        study_uid = str(event.dataset.get("StudyInstanceUID", ""))
        if not study_uid:
            LOG.warning("an image without a StudyInstanceUID was refused")
            return NO_STUDY
        key = study_key(study_uid)
        with self._lock:
            self._open.setdefault(event.assoc, Counter())[key] += 1
        assert isinstance(event.request, C_STORE)
        content = event.encoded_dataset()
        try:
            if full := self._find_limit(key, len(content) / 1e6):
                LOG.warning("study %s: an image was refused: %s", key, full)
                return OUT_OF_RESOURCES
            self.spool.store(study_uid, str(event.request.AffectedSOPInstanceUID), content)
        except OSError as error:
            LOG.error("study %s: an image was refused: %s", key, error.strerror)
            return OUT_OF_RESOURCES
        return SUCCESS

    def _find_limit(self, key: str, megabytes: float) -> str:
        limits = self.settings.limits
        if self.spool.megabytes(key) + megabytes > limits.study_mb:
            return f"the study is larger than study_mb, {limits.study_mb}"
        full = self.spool.megabytes() > limits.spool_mb
        return f"the spool is fuller than spool_mb, {limits.spool_mb}" if full else ""

    def _close(self, event: evt.Event) -> None:
        with self._lock:
            studies = self._open.pop(event.assoc, Counter())
        for key, images in studies.items():
            LOG.info("study %s: %d images came", key, images)

    def _reject(self, event: evt.Event) -> None:
        LOG.warning("a sender was rejected: its AE title, or the one it called, is not in node.yaml")


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that asks whoever connects for a certificate of the authority.

    Raises:
        ConfigError: a file is missing or no PEM.
    """
    return _context(tls, ssl.Purpose.CLIENT_AUTH)


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that shows the node's certificate and asks for one of the authority.

    Raises:
        ConfigError: a file is missing or no PEM.
    """
    return _context(tls, ssl.Purpose.SERVER_AUTH)


def _context(tls: Tls, purpose: ssl.Purpose) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=str(tls.authority))
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError):
        raise ConfigError("the files under 'tls' cannot be used", "give PEM files that exist in node.yaml") from None
    context.verify_mode = ssl.CERT_REQUIRED
    return context
