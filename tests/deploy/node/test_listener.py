import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from fedgin.deploy.node.listener import Listener
from fedgin.deploy.node.settings import Destination, NodeSettings, load_node
from fedgin.deploy.node.spool import Spool
from fedgin.errors import ConfigError
from poc.federation import free_port
from tests.data.dicom.series import SeriesSpec, write_pixels, write_series
from tests.deploy.node.peers import dcmtk, store

AGAIN = "study {}: an image came again in another encoding, or with other content; the first is kept"


@pytest.fixture
def listener(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Listener]:
    values: dict[str, Any] = getattr(request, "param", {})
    settings = NodeSettings.model_validate(
        {
            "port": free_port(),
            "known": ["SCANNER"],
            "destination": Destination(ae_title="PACS", host="127.0.0.1", port=free_port()),
            "spool": tmp_path / "spool",
            **values,
        }
    )
    made = Listener(settings, Spool(settings.spool))
    made.start()
    yield made
    made.stop()


def test_an_echo_is_answered(listener: Listener) -> None:
    command = [dcmtk("echoscu"), "-aet", "SCANNER", "-aec", "FEDGIN", "localhost", str(listener.settings.port)]
    assert subprocess.run(command, check=False).returncode == 0


def test_strangers_are_rejected(listener: Listener, tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    assert store(listener.settings.port, files, calling="STRANGER") != 0
    assert store(listener.settings.port, files, called="OTHER") != 0
    assert listener.spool.studies() == []


def test_what_came_twice_is_kept_once(listener: Listener, tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    for _ in range(2):
        assert store(listener.settings.port, files) == 0
    assert [len(study.received()) for study in listener.spool.studies()] == [len(files)]


def test_of_another_image_under_an_old_uid_the_first_is_kept_and_the_log_says_so(
    listener: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slices = write_series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    caplog.set_level(logging.WARNING, "fedgin.node")
    for _ in range(2):
        assert store(listener.settings.port, files) == 0
    assert caplog.messages == []
    [study] = listener.spool.studies()
    before = {path: path.read_bytes() for path in study.received()}
    write_pixels(slices[2], slices[2].pixel_array + 1)
    slices[2].save_as(files[2])
    assert store(listener.settings.port, files) == 0, "a sender that is refused would send it for ever"
    assert {path: path.read_bytes() for path in study.received()} == before
    assert caplog.messages == [AGAIN.format(study.key)]


def test_of_an_image_that_comes_again_in_another_encoding_the_log_does_not_call_it_another(
    listener: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slices = write_series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    assert store(listener.settings.port, files) == 0
    slices[2].file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    slices[2].save_as(files[2], implicit_vr=True, little_endian=True)
    assert store(listener.settings.port, files) == 0
    [study] = listener.spool.studies()
    assert len(study.received()) == len(files)
    assert caplog.messages == [AGAIN.format(study.key)]


@pytest.mark.parametrize("listener", [{"limits": {"study_mb": 1}}], indirect=True)
def test_a_study_that_is_too_large_is_refused_and_what_was_taken_is_kept(listener: Listener, tmp_path: Path) -> None:
    write_series(tmp_path / "a", SeriesSpec(count=12, shape=(256, 256)))
    assert store(listener.settings.port, sorted((tmp_path / "a").iterdir())) != 0
    [study] = listener.spool.studies()
    assert 0 < len(study.received()) < 12


def test_a_second_node_on_the_port_is_told(listener: Listener) -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        Listener(listener.settings, listener.spool).start()


def test_paths_lie_beside_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("known: [A]\nspool: spool\ndestination: {ae_title: P, host: h, port: 104}\n")
    assert load_node(path).spool == tmp_path / "spool"
    path.write_text("known: []\nspool: spool\ndestination: {ae_title: P, host: h, port: 104}\n")
    with pytest.raises(ConfigError, match="'known'"):
        load_node(path)


def test_a_destination_with_tls_needs_the_node_s_certificate(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("known: [A]\nspool: spool\ndestination: {ae_title: P, host: h, port: 104, tls: true}\n")
    with pytest.raises(ConfigError, match=r"destination\.tls is true, but the node has no certificate"):
        load_node(path)
