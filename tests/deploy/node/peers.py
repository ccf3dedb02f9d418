"""Real DICOM peers on loopback: dcmtk's sender, and Orthanc as the archive."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poc.federation import free_port


def dcmtk(program: str) -> str:
    """Return the path of a program of dcmtk. pynetdicom installs others of these names, in an environment's folder."""
    ours = Path(sys.prefix) / "bin"
    others = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != ours]
    found = shutil.which(program, path=os.pathsep.join(others))
    assert found, f"{program} is not installed: make debian"
    return found


def store(
    port: int, files: Sequence[Path], *, called: str = "FEDGIN", calling: str = "SCANNER", jpeg: bool = False
) -> int:
    """Send files with dcmtk, which offers JPEG 2000 where asked; return its exit code."""
    options = ["-xv"] if jpeg else []
    command = [dcmtk("storescu"), *options, "-aet", calling, "-aec", called, "localhost", str(port), *map(str, files)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@dataclass(frozen=True)
class Orthanc:
    """A running archive.

    Attributes:
        dicom: its DICOM port; its AE title is ``PACS``.
        http: the port of its REST and DICOMweb interface.
    """

    dicom: int
    http: int

    def get(self, path: str) -> Any:
        """Ask the archive for JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return json.loads(answer.read() or b"[]")

    def series(self, study_uid: str, modality: str) -> list[Any]:
        """Find series of a study over DICOMweb."""
        return list(self.get(f"/dicom-web/studies/{study_uid}/series?Modality={modality}") or [])


@contextlib.contextmanager
def orthanc(folder: Path, dicom: int) -> Iterator[Orthanc]:
    """Run Orthanc with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = Orthanc(dicom, free_port())
    settings = {
        "Name": "PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "DicomAet": "PACS",
        "DicomPort": archive.dicom,
        "HttpPort": archive.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["/usr/sbin/Orthanc", folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        _wait(archive, folder / "log")
        yield archive
    finally:
        process.terminate()
        process.wait()


def _wait(archive: Orthanc, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            archive.get("/system")
        except OSError:
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.2)
        else:
            return
