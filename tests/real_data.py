"""Find the real CT and MR data that some tests read; it is not part of the repository."""

import os
from pathlib import Path

import pytest

from tests.places import ROOT

DEFAULT = ROOT / ".." / "shared" / "data"


def real_data(name: str) -> Path:
    """Return a folder or file of the real data; a test that needs it fails when it is not there."""
    path = (Path(os.environ.get("FEDGIN_TEST_DATA", DEFAULT)) / name).resolve()
    if not path.exists():
        pytest.fail(f"the real data '{name}' is missing: set FEDGIN_TEST_DATA to the folder that holds it")
    return path
