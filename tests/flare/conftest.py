from collections.abc import Iterator

import pytest

from fedgin.flare.array_limit import ArrayLimit


@pytest.fixture(autouse=True)
def _unbound() -> Iterator[None]:
    """Take back what a run that is never ended has set in FLARE for the whole process."""
    yield
    ArrayLimit(0, print).stop()
