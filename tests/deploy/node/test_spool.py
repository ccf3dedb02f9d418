"""How much there is of each study is known without a look at the disk, and is what the disk says."""

import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedgin.deploy.node.listener import Listener
from fedgin.deploy.node.settings import NodeSettings
from fedgin.deploy.node.spool import Held, Spool, SpooledStudy, study_key


def on_disk(spool: Spool) -> dict[str, float]:
    return {study.key: study.held().size / 1e6 for study in map(SpooledStudy, spool.folder.iterdir())}


def check(spool: Spool) -> None:
    sizes = on_disk(spool)
    assert {key: spool.megabytes(key) for key in sizes} == sizes
    assert spool.megabytes() == pytest.approx(sum(sizes.values()))


def test_sizes_follow_what_many_senders_store_twice_and_what_is_forgotten(tmp_path: Path) -> None:
    Spool(tmp_path).store("study 0", "from an earlier run", bytes(1000))
    spool = Spool(tmp_path)
    images = [(f"study {study}", f"image {image}", bytes(100 * image)) for study in range(4) for image in range(20)] * 2
    random.Random(0).shuffle(images)
    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda image: spool.store(*image), images))
    check(spool)
    gone = SpooledStudy(spool.folder / study_key("study 1"))
    assert spool.remove(gone, gone.fingerprint())
    assert spool.megabytes(gone.key) == 0.0
    check(spool)
    spool.store("study 1", "image 1", bytes(7))
    check(spool)


def test_what_somebody_deletes_makes_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.store("study", "image", bytes(1000))
    shutil.rmtree(spool.folder / study_key("study"))
    assert spool.studies() == []
    assert spool.megabytes() == 0.0


def test_the_study_whose_last_image_came_first_is_in_front(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        image = next(Spool(tmp_path).store(name, "1", b"image").images.iterdir())
        os.utime(image, (1e9 - number, 1e9 - number))
    spool = Spool(tmp_path)
    assert [study.key for study in spool.studies()] == [study_key("b"), study_key("a")]
    spool.store("b", "2", b"image")
    assert [study.key for study in spool.studies()] == [study_key("a"), study_key("b")]


def test_the_disk_is_looked_at_once_however_many_images_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    for study in range(5):
        spool.store(f"study {study}", "1", b"image")
    looks: list[str] = []

    def held(self: SpooledStudy) -> Held:
        looks.append(self.key)
        return Held(5, 1.0)

    monkeypatch.setattr(SpooledStudy, "held", held)
    values = {"known": ["A"], "destination": {"ae_title": "P", "host": "h", "port": 104}, "spool": tmp_path}
    listener = Listener(NodeSettings.model_validate(values), Spool(tmp_path))
    for image in range(10):
        assert listener._find_limit(study_key("study 0"), 0.5) == ""
        listener.spool.store("study 0", str(image), b"image")
        listener.spool.studies()
    assert len(looks) == 5
