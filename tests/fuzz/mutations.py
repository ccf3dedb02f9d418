"""What the fuzz tests share: how many inputs each format gets, how valid documents are damaged, what must come out."""

import copy
import functools
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fedgin.errors import LONGEST, FedginError

EXAMPLES = {
    "site": 1000,
    "experiment": 700,
    "parts": 1000,
    "federation": 500,
    "study": 600,
    "datalist": 1800,
    "weights": 1200,
    "network": 600,
    "executor": 600,
    "progress": 300,
    "guard": 1000,
    "checkpoint": 800,
    "pretrained": 500,
    "resumed": 600,
    "job": 500,
    "validator": 400,
    "rounds": 1200,
    "participation": 500,
    "cross_site": 800,
    "nifti": 400,
    "png": 400,
}
# Part of every private value of the documents; no error may hold it.
PRIVATE = "Q7X9"
# What a payload makes when something runs it: a file in the working folder.
CANARY = "fedgin-canary"
RUN = f"touch {CANARY}"

ODD_VALUES: list[Any] = [
    *[None, True, False, 0, -1, 1, 2**31, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308],
    *[float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None], {"": ""}, {"a": {"a": {"a": 1}}}],
    *["", " ", "~", "no", "1e5", "0x1f", "2026-13-45", "\0", "\ud800", "\x1b[2J", "[/]", "a\nb", "K", "١", "é"],
    *["x" * 300, "x" * 5000, "../" * 40, "/dev/zero", "/proc/self/mem", "pipe", "loop", "loop/in", "closed/in"],
    *["!!python/object/apply:os.system", "${oc.env:HOME}", "{WORKSPACE}", "$(" + RUN + ")", "__import__('os')"],
    {"_target_": "os.system", "command": RUN},
    {"path": "os.system", "args": {"command": RUN}},
    {"$expr": f"__import__('os').system('{RUN}')"},
]
# Spliced into text; each is known to be special to YAML, to JSON, to Python's numbers or to UTF-8.
ODD_TEXTS: list[bytes] = [
    *[b"&a ", b"*a", b"&a [*a]", b"<<: {a: 1}", b"? ", b"- ", b"| \n", b"> \n", b"--- \n", b"...\n", b"%YAML 9.9\n"],
    *[
        b"!!int x",
        b"!!int ''",
        b"!!float x",
        b"!!bool x",
        b"!!timestamp x",
        b"!!binary x",
        b"!!set {a, a}",
        b"!!omap x",
    ],
    *[f"!!python/object/apply:os.system ['{RUN}']".encode(), b"!!python/name:os.system", b"!x y", b"!<tag:x> y"],
    *[b"2026-13-45", b"2026-11-22", b"190:20:30", b"1:" * 400 + b"1.5", b"0b", b"0x_", b"._", b".inf", b".nan"],
    *[b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-" + b"1" * 400, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3"],
    *[b"\\ud800", b'"\\u0000"', b"\xed\xa0\x80", b"\xe2\x80\xae", b"\t", b"\r\n", b"\x85", b"\x1b[2J", b"'", b'"'],
    *[
        b"[" * 2000,
        b"{" * 2000,
        b'{"a":' * 600,
        b"- " * 600,
        b"#" * 3000,
        b", ",
        b": ",
        b"{}",
        b"[]",
        b"null",
        b"{{ x }}",
    ],
]
# A copy each time: what is drawn gets damaged, and must be the same in the next example.
odd_values = st.sampled_from(ODD_VALUES).map(copy.deepcopy)
leaves = st.one_of(odd_values, st.integers(), st.floats(), st.text(max_size=8), st.text("abc_.-/\\:", max_size=8))
plain = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
raw = st.binary(max_size=200) | st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass"))


# How many inputs each property has been called with.
RAN: Counter[str] = Counter()


def fuzz(name: str) -> Callable[[Any], Any]:
    """Let a property be tried with as many inputs as the table says, the same ones in every run, and count them."""
    chosen = settings(
        max_examples=EXAMPLES[name],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test: Any) -> Any:
        inner = test.hypothesis.inner_test

        @functools.wraps(inner)
        def counted(*args: Any, **arguments: Any) -> None:
            inner(*args, **arguments)
            RAN[name] += 1

        test.hypothesis.inner_test = counted
        test.fuzzed = name
        return chosen(test)

    return decorate


def explains(call: Callable[[], object]) -> bool:
    """Tell whether ``call`` succeeded; when not, it must say why in one short line that is safe to log."""
    try:
        call()
    except FedginError as caught:
        error = caught
    else:
        return True
    check_text(str(error))
    assert error.problem.strip()
    assert error.fix.strip()
    return False


def check_text(text: str) -> None:
    """Check that a text for users has one printable line without private values."""
    assert PRIVATE not in text
    assert text.isprintable()
    assert len(text) <= 2 * LONGEST + 10


def as_json(value: object) -> bytes:
    """Write what Python calls JSON: with NaN and infinity."""
    return json.dumps(value).encode()


def as_yaml(value: object) -> bytes:
    """Write YAML in its JSON-like style, with YAML's names for NaN and infinity."""
    text = re.sub(r"(?<![\w\"])(-?)Infinity", r"\1.inf", json.dumps(value))
    return re.sub(r"(?<![\w\"])NaN", ".nan", text).encode()


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document with one to three parts deleted, replaced, doubled, renamed, moved or nested deeper."""
    holder = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        places = _places(holder)
        if not places:
            break
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        _damage(draw, parent, key, places)
    return holder[0] if holder else None


@st.composite
def spliced(draw: st.DrawFn, text: bytes) -> bytes:
    """Draw a text with one to four spans overwritten, cut out, doubled, or something odd put in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(ODD_TEXTS) | st.binary(max_size=6) | st.just(text[start:end] * 2))
        text = text[:start] + new + text[end:]
    return text


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return container and key of every part, however deep."""
    found: list[tuple[Any, Any]] = []
    level = [value]
    for container in level:
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            if isinstance(container[key], dict | list):
                level.append(container[key])
    return found


def _damage(draw: st.DrawFn, parent: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
    value = parent[key]
    act = draw(st.sampled_from(["replace", "replace", "delete", "double", "nest", "move", "rename"]))
    if act == "replace":
        parent[key] = draw(leaves | plain)
    elif act == "delete":
        del parent[key]
    elif act == "nest":
        parent[key] = draw(st.sampled_from([[value], {"a": value}, [[[[value]]]], {"_target_": value}]))
    elif act == "move":
        other, name = draw(st.sampled_from(places))
        parent[key] = copy.deepcopy(other[name])
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(["x", "_target_", "", "\0", "\x1b[2J", "[/]"]) | st.text(max_size=8))] = value
        if act == "rename":
            del parent[key]
    else:
        parent.insert(key, copy.deepcopy(value))
