"""The sending side of a DICOM node: C-STORE of SEG and SR to the archive."""

import logging
from pathlib import Path

import pydicom
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE
from pynetdicom.status import code_to_category

from fedgin.deploy.node.listener import client_context
from fedgin.deploy.node.settings import NodeSettings

LOG = logging.getLogger("fedgin.node")
# DICOM PS3.7, C: with a warning, such as B000 for attributes that the archive has changed, the object is stored.
TAKEN = ("Success", "Warning")


def send(settings: NodeSettings, path: Path) -> str:
    """Send a file to the destination; return why it was not taken, or nothing.

    An archive that takes the same object twice keeps one: its UID is the same after every repetition.
    """
    node = AE(ae_title=settings.ae_title)
    for kind in (SegmentationStorage, Comprehensive3DSRStorage):
        node.add_requested_context(kind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    node.connection_timeout, node.acse_timeout, node.dimse_timeout = 10, 30, 300
    there = settings.destination
    tls = (client_context(settings.tls), there.host) if there.tls and settings.tls else None
    association = node.associate(there.host, there.port, ae_title=there.ae_title, tls_args=tls)
    if not association.is_established:
        return f"{there.ae_title} cannot be reached or does not know {settings.ae_title}"
    try:
        status = association.send_c_store(pydicom.dcmread(path))
    except (ValueError, RuntimeError, OSError):
        return f"{there.ae_title} takes no such objects"
    finally:
        association.release()
    if "Status" not in status:
        return f"{there.ae_title} did not answer"
    category = code_to_category(status.Status)
    if category == "Warning":
        LOG.warning("%s took it with the warning %04X", there.ae_title, status.Status)
    return "" if category in TAKEN else f"{there.ae_title} refused it with status {status.Status:04X}"
