"""What the server keeps of the sites' answers to a job that collects fingerprints."""

from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.client import Client
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply

from fedgin.errors import DataError
from fedgin.flare.collection import NO_ANSWER, Collection, read_collection
from fedgin.flare.protocol import CAUSE, FINGERPRINT
from fedgin.flare.server.fingerprint_collector import FingerprintCollector
from fedgin.train.experiment import Experiment
from tests.flare.runs import JOB, lay_out, make_context

SITES = ("a", "b", "c", "d", "e")


def sent(values: Any) -> Shareable:
    answer: Shareable = DXO(DataKind.METRICS, data={FINGERPRINT: values}).to_shareable()
    return answer


def collected(folder: Path, **answers: Shareable) -> Collection:
    workspace = lay_out(folder, "server", Experiment(name="x", collects="fingerprints"))
    context, collector = make_context(workspace, "server", SITES), FingerprintCollector()
    collector.create_task_data(FINGERPRINT, context)
    for site, answer in answers.items():
        assert collector.process_client_response(Client(site, "token"), FINGERPRINT, answer, context)
    assert collector.final_process(context)
    return read_collection(Path(workspace.get_run_dir(JOB)))


def test_what_sites_sent_is_kept_and_who_did_not_is_named_with_the_reason(tmp_path: Path) -> None:
    found = collected(
        tmp_path,
        b=make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: "not agreed\x1b[2J"}),
        c=sent({"site": "a", "stolen": True}),
        d=sent(["a", "list"]),
        a=sent({"site": "a", "cases": {"training": 5}}),
    )
    assert found.fingerprints == {"a": {"site": "a", "cases": {"training": 5}}}
    assert found.refused == {
        "b": "not agreed\N{REPLACEMENT CHARACTER}[2J",
        "c": "it sent the fingerprint of another site",
        "d": "its answer is no fingerprint",
        "e": NO_ANSWER,
    }


@pytest.mark.parametrize("values", [{"site": "a", "x": "y" * 2**21}, {"site": "a", "x": float("nan")}, None])
def test_what_is_too_large_or_no_json_is_not_kept(tmp_path: Path, values: Any) -> None:
    found = collected(tmp_path, a=sent(values))
    assert found.fingerprints == {}
    assert found.refused["a"] == "its answer is no fingerprint"


def test_a_result_without_them_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the result has no fingerprints"):
        read_collection(tmp_path)
