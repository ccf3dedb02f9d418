"""Updates towards the server's guard: whatever a site sends is averaged or refused in one line, and leaves no trace."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import MetaKey
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.protocol import MODALITY, TRAINED, WITHHELD
from tests.flare.server.updates import Data, Server, constant, experiment_for, open_server, send
from tests.fuzz.mutations import check_text, damaged, fuzz, odd_values, plain
from tests.fuzz.test_fuzz_weights import DTYPES, arrays, names

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::RuntimeWarning")]
EXPERIMENT = experiment_for(max_norm_ratio=10.0)
HONEST = {site: constant(EXPERIMENT, modality, 1.0) for site, modality in (("a", "CT"), ("b", "MR"), ("c", "MR"))}
KEYS = [MetaKey.NUM_STEPS_CURRENT_ROUND, MODALITY, TRAINED, WITHHELD, MetaKey.PROCESSED_ALGORITHM]
HEADERS = [ReservedHeaderKey.COOKIE_JAR, ReservedHeaderKey.PEER_PROPS, ReservedHeaderKey.RC]
HEADERS += [ReservedHeaderKey.CONTENT_TYPE]
CONTENT = "DXO"  # where a shareable carries one
odd = odd_values | plain | arrays()
Draw = Callable[..., Any]


@dataclass
class Federation:
    """A server for all inputs, each in a round of its own.

    Attributes:
        server: which two honest sites have sent their updates to.
        expected: the average of those two.
        rounds: numbers not used yet.
    """

    server: Server
    expected: Data
    rounds: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def judge(self, update: Shareable) -> tuple[bool, Data]:
        """Return whether a third site's update was averaged, and the average."""
        number, server = next(self.rounds), self.server
        jar = update.get_header(ReservedHeaderKey.COOKIE_JAR)
        sent = jar.get(AppConstants.CONTRIBUTION_ROUND) if isinstance(jar, dict) else None
        if type(sent) is int and sent == 0:
            jar[AppConstants.CONTRIBUTION_ROUND] = number
        aggregator: Any = server.aggregator
        aggregator._guard.claims.clear()
        server.errors.clear()
        server.open_round(number)
        for site in "ab":
            assert server.accept(honest(site, number)), server.errors
        accepted = server.accept(update)
        average = server.close_round()
        return accepted and not server.outliers, average


def honest(site: str, number: int = 0) -> Shareable:
    """Pack an honest update anew."""
    return send(site, "CT" if site == "a" else "MR", 12, dict(HONEST[site]), number, **{WITHHELD: []})


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    server = open_server(tmp_path_factory.mktemp("server"), EXPERIMENT, min_clients=2)
    expected = server.run_round(0, [honest(site) for site in "ab"])
    return Federation(server, expected)


def change_meta(draw: Draw, update: Shareable) -> None:
    update[CONTENT]["meta"] = draw(damaged(update[CONTENT]["meta"]))


def change_claim(draw: Draw, update: Shareable) -> None:
    update[CONTENT]["meta"][draw(st.sampled_from(KEYS))] = draw(odd)


def change_entry(draw: Draw, update: Shareable) -> None:
    """Replace an entry, often by an array of the right shape, of any type and with any value in one place or in all."""
    data = update[CONTENT]["data"]
    name = draw(st.sampled_from(sorted(HONEST["c"])))
    if draw(st.booleans()):
        data[name] = draw(odd)
        return
    entry = HONEST["c"][name].astype(draw(st.sampled_from(DTYPES[:5])))
    places = slice(None) if draw(st.booleans()) else slice(-1, None)
    with np.errstate(over="ignore"):
        entry.reshape(-1)[places] = draw(st.floats())
    data[name] = entry


def change_names(draw: Draw, update: Shareable) -> None:
    """Leave an entry out, add one, or name one as withheld that is or is not there."""
    data, meta = update[CONTENT]["data"], update[CONTENT]["meta"]
    name = draw(st.sampled_from(sorted(HONEST["c"])) | names)
    act = draw(st.sampled_from(["drop", "add", "name", "withhold"]))
    if act in ("drop", "withhold"):
        data.pop(name, None)
    if act in ("name", "withhold"):
        meta[WITHHELD] = [*meta[WITHHELD], name] if isinstance(meta.get(WITHHELD), list) else [name]
    if act == "add":
        data[name] = draw(odd)


def change_header(draw: Draw, update: Shareable) -> None:
    key = draw(st.sampled_from(HEADERS))
    inside = {ReservedHeaderKey.COOKIE_JAR: AppConstants.CONTRIBUTION_ROUND}.get(key, ReservedKey.IDENTITY_NAME)
    value = draw(odd)
    update.set_header(key, {inside: value} if draw(st.booleans()) else value)


def change_frame(draw: Draw, update: Shareable) -> None:
    frame = {key: value for key, value in update[CONTENT].items() if key != "data"}
    update[CONTENT] = draw(damaged(frame) | odd)


@st.composite
def updates(draw: st.DrawFn) -> Shareable:
    """Draw an honest update with one to three changes, the last of which may be to the frame of the whole."""
    update = copy.deepcopy(honest("c"))
    acts = [change_meta, change_claim, change_entry, change_entry, change_names, change_header]
    for act in draw(st.lists(st.sampled_from(acts), min_size=1, max_size=3)):
        if isinstance(update[CONTENT]["meta"], dict) and update[CONTENT]["data"]:
            act(draw, update)
    if draw(st.integers(0, 9)) == 0:
        change_frame(draw, update)
    return update


def test_an_honest_update_is_averaged(federation: Federation) -> None:
    assert federation.judge(honest("c"))[0], federation.server.errors


@fuzz("guard")
@given(update=updates())
def test_an_update_is_averaged_or_refused_without_a_trace(federation: Federation, update: Shareable) -> None:
    taken, average = federation.judge(update)
    assert not federation.server.panics
    assert average.keys() == federation.expected.keys()
    if taken:
        assert federation.server.errors == []
        assert all(entry.dtype == np.float32 and np.isfinite(entry).all() for entry in average.values())
        return
    (line,) = federation.server.errors
    check_text(line)
    assert "the update of site c is refused: " in line
    assert all(np.array_equal(entry, federation.expected[name]) for name, entry in average.items())
