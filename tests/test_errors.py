import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fedgin
from fedgin.errors import ConfigError, DataError, FedginError
from tests.places import ROOT


def kinds() -> set[type[FedginError]]:
    """Return every kind of error of the package and the rehearsal."""
    for module in pkgutil.walk_packages(fedgin.__path__, "fedgin."):
        importlib.import_module(module.name)
    importlib.import_module("poc.federation")
    found: set[type[FedginError]] = {FedginError}
    waiting = [FedginError]
    while waiting:
        below = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith(("fedgin.", "poc."))]
        found.update(below)
        waiting += below
    return found


def test_every_kind_of_error_has_a_code_of_its_own_and_a_row() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes)
    rows = re.findall(r"^\| (FG-\d{3}) \|", (ROOT / "docs" / "faults.md").read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(codes)


def test_an_error_is_one_line_with_its_code() -> None:
    assert str(ConfigError("a\nb.", "do\tc")) == "a b. Fix: do c [FG-010]"


def test_what_no_terminal_should_get_is_replaced() -> None:
    assert "\x1b" not in str(ConfigError("\x1b[2Jgone", "\x07"))


def test_a_path_is_shortened_and_the_code_kept(tmp_path: Path) -> None:
    error = DataError(f"{tmp_path}/a/b.nii is damaged", "restore it").below(tmp_path)
    assert str(error) == "a/b.nii is damaged. Fix: restore it [FG-020]"


@pytest.mark.parametrize("length", [2999, 3000, 3001, 10**6])
def test_a_long_text_is_cut(length: int) -> None:
    assert len(ConfigError("x" * length, "y").problem) <= 3000
