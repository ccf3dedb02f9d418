"""A disk that is full for the kernel: a file may have so many bytes, and no more (EFBIG instead of ENOSPC)."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import nibabel
import pytest

from tests.data.validation.small_site import SmallSite
from tests.deploy.bundles import make_bundle
from tests.sites import AFFINE, make_volume


def fedgin(room: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command whose files may have ``room`` bytes each."""
    command = [sys.executable, "-c", "from fedgin.cli.main import run; run()", *map(str, arguments)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, preexec_fn=limit)


def check_told(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        f"Error FG-023: {what} cannot be written: File too large",
        "Fix: free disk space, or mend the rights, then repeat the command",
    ]


def test_a_bundle_that_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    check_told(fedgin(1024, "export", tmp_path / "run", "--out", tmp_path / "new"), "the bundle")
    assert not (tmp_path / "new").exists()


def test_a_page_of_predictions_that_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    nibabel.save(nibabel.Nifti1Image(make_volume("CT", 0)[0], AFFINE), tmp_path / "a.nii.gz")
    done = fedgin(8192, "predict", tmp_path / "bundle", tmp_path / "a.nii.gz", "--out", tmp_path / "out")
    check_told(done, "the results")
    assert not (tmp_path / "out").exists()


def test_findings_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    contract = SmallSite(tmp_path / "site").save()
    done = fedgin(8192, "site", "validate", contract, "--out", tmp_path / "out", "--format", "json")
    assert json.loads(done.stdout)["verdict"] == "PASS"
    assert done.returncode == 2
    assert "the validation cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["text", "json"])
def test_findings_that_nobody_reads_are_written(tmp_path: Path, output: str) -> None:
    contract = SmallSite(tmp_path / "site").save()
    (read, write), program = os.pipe(), "from fedgin.cli.main import run; run()"
    os.close(read)
    arguments = ["site", "validate", contract, "--out", tmp_path / "out", "--format", output]
    with open(write, "wb") as broken:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, stdout=broken, stderr=subprocess.PIPE, text=True, check=False)
    assert {"validation.html", "fingerprint.json", "validation.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }, done.stderr
    assert "cannot be written" not in done.stderr
