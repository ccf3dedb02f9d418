from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.fuzz.mutations import CANARY, EXAMPLES, RAN


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder and fail when a payload has left its file there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob(CANARY))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a property that held, but not for as many inputs as the table says."""
    result = yield
    name = getattr(pyfuncitem.obj, "fuzzed", "")
    assert RAN[name] >= EXAMPLES.get(name, 0), f"{RAN[name]} inputs"
    return result
