"""What a node does with a study at each step, with an archive that answers as the test wants."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid
from pynetdicom import AE, evt

from fedgin.deploy.node.listener import Listener
from fedgin.deploy.node.settings import NodeSettings
from fedgin.deploy.node.spool import Phase, Spool, SpooledStudy, StudyState
from fedgin.deploy.node.work import LONGEST_PAUSE, Worker
from fedgin.deploy.predict import Segmenter
from poc.federation import free_port

NOW, HOUR = 2e9, 3600.0
UID = "1.2.3"


class Archive:
    """Takes everything with one status, and counts."""

    def __init__(self) -> None:
        self.port, self.status, self.asked = free_port(), 0x0000, 0
        node = AE(ae_title="PACS")
        node.add_supported_context(SegmentationStorage)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._answer)]
        server = node.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert server is not None
        self.server = server

    def _answer(self, event: evt.Event) -> int:
        self.asked += 1
        return self.status


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.server.shutdown()


def make_worker(folder: Path, port: int = 1, **values: Any) -> Worker:
    """Return a worker at :data:`NOW`, whose network is asked for nothing."""
    place = {"ae_title": "PACS", "host": "127.0.0.1", "port": port, **values.pop("destination", {})}
    settings = NodeSettings.model_validate(
        {"known": ["SCANNER"], "destination": place, "spool": folder, "keep_hours": 1.0, **values}
    )
    spool = Spool(settings.spool)
    return Worker(settings, spool, Listener(settings, spool), cast("Segmenter", None), clock=lambda: NOW)


def make_study(worker: Worker, phase: Phase, **values: Any) -> SpooledStudy:
    """Put a study of one image into the spool, as it is once its results are there, two hours ago."""
    study = worker.spool.store(UID, "1", b"image")
    study.results.mkdir()
    for name in values.get("pending", []):
        write_object(study.results / name)
    study.save(StudyState(images=study.fingerprint(), phase=phase, since=NOW - 2 * HOUR, **values))
    return study


def write_object(path: Path) -> None:
    content, meta = pydicom.Dataset(), FileMetaDataset()
    content.SOPClassUID = meta.MediaStorageSOPClassUID = SegmentationStorage
    content.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.file_meta = meta
    content.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("phase", [Phase.SENT, Phase.FAILED])
def test_a_study_is_forgotten_when_its_time_is_over(tmp_path: Path, phase: Phase) -> None:
    worker = make_worker(tmp_path)
    worker.step(make_study(worker, phase))
    assert worker.spool.studies() == []
    assert list(tmp_path.rglob("*.dcm")) == []


def test_a_study_with_an_image_that_nobody_has_segmented_is_not_forgotten(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    study = make_study(worker, Phase.SENT)
    seen = study.fingerprint()
    worker.spool.store(UID, "2", b"late")
    os.utime(study.received()[0], (NOW - 1, NOW - 1))
    os.utime(study.received()[1], (NOW - 1, NOW - 1))
    worker.step(study)
    # Nor does it go with an image that comes between the look at it and its end.
    assert not worker.spool.remove(study, seen)
    assert len(study.received()) == 2


def test_old_results_wait_while_images_come(tmp_path: Path, archive: Archive) -> None:
    worker = make_worker(tmp_path, archive.port)
    study = make_study(worker, Phase.TO_SEND, pending=["a.dcm"])
    worker.spool.store(UID, "2", b"late")
    for path in study.received():
        os.utime(path, (NOW - 1, NOW - 1))
    worker.step(study)
    assert archive.asked == 0


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007])
def test_what_the_archive_has_stored_is_sent_also_with_a_warning(
    tmp_path: Path, archive: Archive, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    archive.status = status
    worker = make_worker(tmp_path, archive.port)
    problem = "series-2: slices are missing"
    study = make_study(worker, Phase.TO_SEND, pending=["a.dcm", "b.dcm"], problem=problem, unsent="PACS was away")
    with caplog.at_level(logging.WARNING, "fedgin.node"):
        worker.step(study)
    assert archive.asked == 2
    assert study.state.phase is Phase.SENT
    assert study.state.said() == problem, "what could not be segmented is still told"
    assert (f"{status:04X}" in caplog.text) == (status != 0)


def test_what_the_archive_refuses_waits_however_often_it_was_tried(tmp_path: Path, archive: Archive) -> None:
    archive.status = 0xA700
    worker = make_worker(tmp_path, archive.port)
    study = make_study(worker, Phase.TO_SEND, pending=["a.dcm"], attempts=5000)
    worker.step(study)
    assert study.state.next_try == NOW + LONGEST_PAUSE
    assert "A700" in study.state.said()


def test_no_fault_of_one_study_ends_the_node(
    tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("certificate", "key", "authority"):
        (tmp_path / name).write_text("half of a PEM file")
    tls = {name: tmp_path / name for name in ("certificate", "key", "authority")}
    worker = make_worker(tmp_path / "tls", archive.port, destination={"tls": True}, tls=tls)
    worker.step(make_study(worker, Phase.TO_SEND, pending=["a.dcm"]))
    assert "the files under 'tls' cannot be used; it is tried again in 5 s" in caplog.text

    worker = make_worker(tmp_path / "damaged", archive.port)
    study = make_study(worker, Phase.TO_SEND, pending=["a.dcm"])
    (study.results / "a.dcm").write_bytes(b"no DICOM of Doe^Jane")
    worker.step(study)
    assert "InvalidDicomError" in caplog.text
    assert "Doe" not in caplog.text


def test_a_study_that_is_forgotten_meanwhile_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(tmp_path)
    make_study(worker, Phase.SENT)
    monkeypatch.setattr(SpooledStudy, "received", lambda self: [self.images / "gone.dcm"])
    assert Spool(tmp_path).megabytes() == 0.0


def test_what_a_kill_left_of_a_forgotten_study_is_deleted(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    (tmp_path / "forgotten" / "key").mkdir(parents=True)
    worker.run(lambda: True)
    assert not (tmp_path / "forgotten").exists()
