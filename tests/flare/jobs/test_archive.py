import contextlib
import io
import pickle
import shutil
import stat
import subprocess
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgin.errors import FedginError
from fedgin.flare.jobs.archive import check_archive
from fedgin.flare.jobs.job import load_job, stage_job
from fedgin.folders import MARK
from tests.flare.jobs.archives import archive_of
from tests.places import JOBS

NAME = "abdomen_fedgin"
OURS = archive_of(JOBS / NAME)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return Path(shutil.copytree(JOBS / NAME, tmp_path / NAME))


def refusal(content: bytes, name: str = NAME) -> str:
    with pytest.raises(FedginError) as caught:
        check_archive(content, name)
    return str(caught.value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A file that is twice in an archive is what a test wants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def repacked(change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes]], extra: str = "") -> bytes:
    """Write each entry anew, changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(OURS)) as original, zipfile.ZipFile(made, "w") as archive, quiet():
        for entry in original.infolist():
            archive.writestr(*change(entry, original.read(entry)))
        if extra:
            archive.writestr(extra, b"content")
    return made.getvalue()


def as_it_was(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
    return entry, content


def test_what_flare_s_console_sends_is_a_job(job: Path, tmp_path: Path) -> None:
    for folder in (job, job / "app", job / "app" / "config"):
        (folder / ".__nvfl_sig.json").write_text("{}")
        (folder / ".__nvfl_submitter.crt").write_text("certificate")
    (tmp_path / "sent").write_bytes(archive_of(job))
    found = check_archive(str(tmp_path / "sent"), NAME)
    assert (found.experiment, found.numbers) == (load_job(job).experiment, load_job(job).numbers)
    assert check_archive(repacked(as_it_was), NAME).numbers == found.numbers


def test_the_mark_of_a_staged_job_is_sent_too_and_no_other_one(job: Path, tmp_path: Path) -> None:
    staged = stage_job(load_job(job), tmp_path / "staged", sites=2, rounds=1, changes={"seed": 7})
    (staged.folder / ".__nvfl_sig.json").write_text("{}")
    assert check_archive(archive_of(staged.folder), "staged").rounds == 1
    mark = staged.folder / MARK
    for other in (mark.read_text().replace("files of", "stolen"), mark.read_text() + " ", "{}"):
        mark.write_text(other)
        assert "the job carries '.fedgin.json'" in refusal(archive_of(staged.folder), "staged")


class Attack:
    """What unpickling it does."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", str(self.marker)],)


def test_an_archive_that_torch_would_read_as_a_checkpoint_is_refused(job: Path, tmp_path: Path) -> None:
    """The first attack: files beside app/ make of the stored archive a file that torch.load runs."""
    marker = tmp_path / "owned"
    (job / "data.pkl").write_bytes(pickle.dumps(Attack(marker), protocol=2))
    (job / "version").write_text("3\n")
    (tmp_path / "data").write_bytes(archive_of(job))
    assert "the job carries 'abdomen_fedgin/data.pkl'" in refusal((tmp_path / "data").read_bytes())
    assert not marker.exists()
    torch.load(tmp_path / "data", weights_only=False)  # the control: it is one
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        f"{NAME}/data.pkl",
        f"{NAME}/version",
        f"{NAME}/app2/config/config_fed_server.json",
        f"{NAME}/app/custom/evil.py",
        f"{NAME}/app/config/model.pt",
        f"{NAME}/meta.conf",
        f"{NAME}/meta.yml",
        f"{NAME}//meta.json",
        f"{NAME}/./meta.json",
        f"{NAME}/app/../meta.json",
        f"{NAME}/META.json",
        "other/meta.json",
        "meta.json",
        "/etc/passwd",
        f"../{NAME}/meta.json",
        f"{NAME}\\meta.json",
        f"{NAME}/app/config/",
        f"{NAME}/meta.json",
        f"{NAME}/empty/",
    ],
)
def test_an_entry_that_is_no_part_of_a_job_is_refused(name: str) -> None:
    text = refusal(repacked(as_it_was, extra=name))
    assert "the job carries" in text or "has a file twice" in text or "as a link" in text


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/a", f"{NAME}/", "a b", "x" * 200, "\u00fc"])
def test_a_folder_needs_a_plain_name(name: str) -> None:
    assert "no plain name" in refusal(OURS, name)


def test_a_link_is_refused() -> None:
    def link(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        if entry.filename.endswith("experiment.yaml"):
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            return entry, b"/etc/passwd"
        return entry, content

    assert "as a link, packed" in refusal(repacked(link))


def test_a_packed_file_is_refused_before_it_is_unpacked() -> None:
    """A few packed bytes can be gigabytes of zeros."""

    def pack(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry, content + b" " * 10_000_000 * entry.filename.endswith("experiment.yaml")

    assert "packed, encrypted or too large" in refusal(repacked(pack))


def test_a_large_file_is_refused() -> None:
    def grow(entry: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        return entry, content + b"\n" * 300_000 * entry.filename.endswith("meta.json")

    assert "too large" in refusal(repacked(grow))


@pytest.mark.parametrize("kind", ["before", "between", "after", "comment"])
def test_an_archive_that_is_another_file_as_well_is_refused(kind: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(OURS)) as original, zipfile.ZipFile(made, "w") as archive:
        for number, entry in enumerate(original.infolist()):
            archive.writestr(entry, original.read(entry))
            if number == 2 and kind == "between":
                assert archive.fp is not None
                archive.fp.write(b"\x80\x02.")
                archive.start_dir = archive.fp.tell()
        archive.comment = b"\x80\x02." if kind == "comment" else b""
    content = b"\x80\x02." * (kind == "before") + made.getvalue() + b"\x80\x02." * (kind == "after")
    assert "belong to no file" in refusal(content) or "is damaged" in refusal(content)


def test_a_checkpoint_comes_with_a_resumed_job_only(job: Path) -> None:
    checkpoint = job / "app" / "config" / "checkpoint.safetensors"
    checkpoint.write_bytes(safetensors.numpy.save({"w": np.zeros(3)}, metadata={"round": "1"}))
    assert "but resumes nothing" in refusal(archive_of(job))
    experiment = job / "app" / "config" / "experiment.yaml"
    experiment.write_text(f"{experiment.read_text()}\nresumes: {{job: old, round: 3}}\n")
    assert "'workflows.1.args.start_round' is not what the job's experiment.yaml makes it" in refusal(archive_of(job))
    config = job / "app" / "config" / "config_fed_server.json"
    config.write_text(config.read_text().replace('"start_round": 0', '"start_round": 3'))
    assert "is not of the round before 'resumes.round'" in refusal(archive_of(job))
    checkpoint.write_bytes(safetensors.numpy.save({"w": np.zeros(3)}, metadata={"round": "2"}))
    assert check_archive(archive_of(job), NAME).first_round == 3


@given(place=st.integers(0, len(OURS) - 1), value=st.integers(0, 255))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_archive_is_refused_or_the_same_job(place: int, value: int) -> None:
    content = OURS[:place] + bytes([value]) + OURS[place + 1 :]
    with contextlib.suppress(FedginError):
        check_archive(content, NAME)
