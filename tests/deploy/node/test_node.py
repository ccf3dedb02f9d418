"""A DICOM node as a hospital runs it: a process of its own, real senders, a real archive."""

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pydicom
import pytest
import yaml
from pydicom.config import disable_value_validation
from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.deploy.node.spool import Phase, Spool
from fedgin.errors import DataError
from poc.federation import free_port
from tests.data.dicom.series import PLANTED, SeriesSpec, write_series
from tests.deploy.bundles import make_bundle
from tests.deploy.node.peers import orthanc, store
from tests.real_data import real_dicom_series

PATIENCE = 240.0
# More than an image has, less than its SEG.
ROOM = 8192
# A part of a UID has no leading zero: pydicom quotes it in a warning, wherever it is read.
NOT_VALID = "1.2.840.0999.1"


class Node:
    """A node's files and its process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.archive = folder, free_port(), free_port()
        make_bundle(folder)
        self.spool = Spool(folder / "spool")
        self.config = folder / "node.yaml"
        values = {
            "port": self.port,
            "known": ["SCANNER"],
            "destination": {"ae_title": "PACS", "host": "127.0.0.1", "port": self.archive},
            "spool": "spool",
            "quiet_seconds": 1.0,
        }
        self.config.write_text(yaml.safe_dump(values))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node and wait until it listens."""
        log = self.folder / "log"
        command = [sys.executable, "-c", "from fedgin.cli.main import run; run()", "serve", str(self.folder / "bundle")]
        before = log.read_text().count("listens on") if log.exists() else 0
        with log.open("ab") as file:
            self.process = subprocess.Popen([*command, "--config", str(self.config)], stdout=file, stderr=file)
        wait_for(lambda: log.read_text().count("listens on") > before, self.said)

    def said(self) -> str:
        """Return what the node printed."""
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        """Let the node's machine lose power."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End the node as a service manager does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=60)

    def phases(self) -> list[Phase]:
        """Return how far each study is."""
        return [state.phase for _, _, state in self.spool.rows()]


def wait_for(true: Callable[[], bool], said: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, said()[-3000:]
        time.sleep(0.1)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def test_a_real_series_comes_back_to_the_archive_though_the_node_and_the_archive_were_away(
    node: Node, tmp_path: Path
) -> None:
    files, study = real_dicom_series(tmp_path / "series")
    node.start()
    assert store(node.port, files, jpeg=True) == 0
    node.kill()  # what was acknowledged is on disk
    assert [len(item.received()) for item in node.spool.studies()] == [20]
    node.start()
    # The archive is not there yet: results wait, and the reason can be looked at.
    wait_for(lambda: "next try in" in node.said(), node.said)
    shown = CliRunner().invoke(app, ["serve", "x", "--config", str(node.config), "--status"], env={"COLUMNS": "200"})
    assert "PACS cannot be reached" in shown.output
    node.kill()
    with orthanc(tmp_path / "archive", node.archive) as archive:
        node.start()
        wait_for(lambda: node.phases() == [Phase.SENT], node.said)
        [segmentation], [report] = archive.series(study, "SEG"), archive.series(study, "SR")
        assert segmentation["00081190"] != report["00081190"]
        # The same study again: nothing is sent twice, and the archive keeps one of each.
        assert store(node.port, files, jpeg=True) == 0
        time.sleep(3.0)
        assert node.phases() == [Phase.SENT]
        assert len(archive.series(study, "SEG")) == len(archive.series(study, "SR")) == 1
    assert node.stop() == 0


def test_a_full_disk_refuses_images_and_delays_results_and_loses_nothing(node: Node, tmp_path: Path) -> None:
    """Full for the kernel: a file may have no byte, then fewer than a SEG has (EFBIG instead of ENOSPC)."""
    write_series(tmp_path / "a", SeriesSpec(count=12, shape=(40, 40)))
    files = sorted((tmp_path / "a").iterdir())
    assert max(path.stat().st_size for path in files) < ROOM
    node.start()
    assert node.process is not None
    process = psutil.Process(node.process.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
    assert store(node.port, files) != 0, "what is not on disk is not acknowledged"
    assert [path for path in node.spool.folder.rglob("*") if path.is_file()] == []
    process.rlimit(psutil.RLIMIT_FSIZE, (ROOM, psutil.RLIM_INFINITY))
    assert store(node.port, files) == 0
    wait_for(lambda: "the results cannot be written" in node.said(), node.said)
    assert node.phases() == [Phase.RECEIVING], "the study is sound"
    process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    wait_for(lambda: node.phases() == [Phase.TO_SEND], node.said)
    [study] = node.spool.studies()
    assert sorted(path.name for path in study.results.glob("*.dcm")) == ["series-1_seg.dcm", "series-1_sr.dcm"]


def test_who_may_not_read_the_spool_is_told_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run as root, who may read everything."""
    (node.folder / "spool").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != node.folder / "spool")
    shown = CliRunner().invoke(app, ["serve", "x", "--config", str(node.config), "--status"])
    assert isinstance(shown.exception, DataError)
    assert "the spool may be read by its user and group alone" in shown.exception.problem


def test_two_studies_at_once_and_a_bad_one_are_kept_apart(node: Node, tmp_path: Path) -> None:
    with disable_value_validation():
        for name, spec in {
            "a": SeriesSpec(count=12, shape=(40, 40), study=NOT_VALID),
            "b": SeriesSpec(count=12, shape=(40, 40), seed=1),
        }.items():
            write_series(tmp_path / name, spec)
    write_series(tmp_path / "few", SeriesSpec(count=3))
    spool = node.folder / "spool"
    spool.mkdir(mode=0o755)
    node.start()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700, "the images in it name patients"
    mixed = [
        path for pair in zip(*(sorted((tmp_path / name).iterdir()) for name in "ab"), strict=True) for path in pair
    ]
    assert store(node.port, [*mixed, *sorted((tmp_path / "few").iterdir())]) == 0
    wait_for(lambda: sorted(node.phases()) == sorted([Phase.FAILED, Phase.TO_SEND, Phase.TO_SEND]), node.said)
    pending = [state.pending for _, _, state in node.spool.rows() if state.phase is Phase.TO_SEND]
    assert [sorted(names) for names in pending] == [["series-1_seg.dcm", "series-1_sr.dcm"]] * 2
    for study in node.spool.studies():
        images = {pydicom.dcmread(path).StudyInstanceUID for path in study.received()}
        results = {pydicom.dcmread(path).StudyInstanceUID for path in study.results.glob("*.dcm")}
        assert len(images) == 1
        assert results <= images
    said = node.said()
    assert not [value for value in (*PLANTED.values(), "PAT0042-SECRET", NOT_VALID) if value in said]
