import re
from collections import Counter
from pathlib import Path

from tests.fuzz.mutations import EXAMPLES


def test_ten_thousand_inputs_are_tried() -> None:
    """Each property fails that is not called as often as its number says; see conftest.py."""
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    used = Counter(name for source in sources for name in re.findall(r'^@fuzz\("(\w+)"\)$', source, re.MULTILINE))
    assert used == Counter(EXAMPLES.keys())
    assert sum(EXAMPLES.values()) >= 10_000
