"""What is wrong is told by the scripts here as the command line tells it: two lines and code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT


@pytest.mark.parametrize("script", [["real_sites.py", "--ct", "nowhere", "--mr", "nowhere"], ["rehearse.py"]])
def test_a_script_ends_with_two_lines_and_no_traceback(tmp_path: Path, script: list[str]) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    command = [sys.executable, str(ROOT / "poc" / script[0]), *script[1:], "--out", str(out)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    error, fix = done.stderr.splitlines()
    assert error.startswith("Error FG-0")
    assert fix.startswith("Fix: ")
