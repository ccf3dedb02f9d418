"""Whose numbers are in the report of a round, whatever an update says of itself."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.flare.participation import Absence, Contribution
from fedgin.flare.protocol import DICE, LONGEST_METRIC, MOST_METRICS, TRAINING_LOSS, VERDICT
from fedgin.flare.run.results import RunResult
from fedgin.flare.server.round_metrics import RoundMetricsWriter
from tests.flare.runs import JOB, came_from, lay_out, make_context
from tests.sites import tiny_experiment

LET_IN = Contribution("CT", 12.0, 1, 2, 5, 12)


class Run:
    """A job at the server, whose rounds are written."""

    def __init__(self, folder: Path) -> None:
        self.context: FLContext = make_context(lay_out(folder, "server", tiny_experiment()), "server")
        self.folder = folder / JOB
        self.writer = RoundMetricsWriter()

    def receive(
        self, site: str, metrics: Any, verdict: object = LET_IN, meta: dict[str, Any] | None = None, **headers: Any
    ) -> None:
        """Fire what FLARE fires when the aggregator has seen an update."""
        meta = {MetaKey.INITIAL_METRICS: metrics} | (meta or {})
        result = came_from(site, DXO(DataKind.WEIGHT_DIFF, data={"w": 1}, meta=meta).to_shareable())
        for key, value in headers.items():
            result.set_header(key, value)
        for key, value in ((AppConstants.TRAINING_RESULT, result), (VERDICT, verdict)):
            self.context.set_prop(key, value, private=True, sticky=False)
        self.writer.handle_event(AppEventType.AFTER_CONTRIBUTION_ACCEPT, self.context)

    def close(self, number: int) -> None:
        self.context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=False)
        self.writer.handle_event(AppEventType.AFTER_AGGREGATION, self.context)

    @property
    def rounds(self) -> dict[int, dict[str, float]]:
        return {done.number: done.dice for done in RunResult(self.folder).rounds}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("key", ["site_name", "client_name"])
def test_no_site_reports_in_another_s_name(run: Run, key: str) -> None:
    run.receive("hospital-a", {DICE: 0.8})
    run.receive("hospital-c", {DICE: 0.02}, meta={key: "hospital-a"})
    run.close(0)
    assert run.rounds == {0: {"hospital-a": 0.8, "hospital-c": 0.02}}


def test_no_site_reports_for_another_round(run: Run) -> None:
    rounds = {AppConstants.CURRENT_ROUND: 7}
    run.receive("hospital-c", {DICE: 0.02}, meta={**rounds, "current_round": 7}, **rounds)
    run.close(0)
    assert run.rounds == {0: {"hospital-c": 0.02}}


def test_no_site_hides_what_others_measured(run: Run) -> None:
    texts = {f"m{number}": "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 1024 for number in range(400)}
    run.receive("hospital-b", texts | {DICE: 0.5})
    names = {f"{number:04d}" + "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * (LONGEST_METRIC - 4): 0.5 for number in range(5000)}
    for site in ("hospital-c", "hospital-d", "hospital-e"):
        run.receive(site, names | {DICE: 0.02})
    run.receive("hospital-a", {DICE: 0.8})
    run.close(0)
    assert run.rounds[0]["hospital-a"] == 0.8
    [done] = RunResult(run.folder).rounds
    assert done.sites["hospital-b"] == {DICE: 0.5}
    assert {len(done.sites[site]) for site in ("hospital-c", "hospital-d", "hospital-e")} == {MOST_METRICS}


@pytest.mark.parametrize(
    "metrics",
    [
        *(7, None, [DICE], {}, {DICE: "0.9"}, {DICE: math.nan}, {DICE: 10**400}),
        {"dice\n": 0.5, "\x1b[2J": 0.5},
    ],
)
def test_what_is_no_number_with_a_name_is_left_out(run: Run, metrics: Any) -> None:
    run.receive("hospital-c", metrics)
    run.receive("hospital-a", {DICE: 0.8})
    run.close(0)
    assert RunResult(run.folder).rounds[0].sites == {"hospital-a": {DICE: 0.8}}


def test_a_refused_update_reports_nothing_and_hides_no_good_one(run: Run) -> None:
    run.receive("hospital-a", {DICE: 0.8})
    run.receive("hospital-a", {DICE: 0.9}, Absence("hospital-a", "it is the second of the round"))
    run.receive("hospital-b", {DICE: 0.9}, Absence("hospital-b", "it changes no weight"))
    run.close(0)
    run.close(1)
    assert run.rounds == {0: {"hospital-a": 0.8}}


def test_a_line_is_as_flare_writes_it(run: Run) -> None:
    run.receive("hospital-a", {DICE: 0.8, TRAINING_LOSS: 1.5})
    run.close(3)
    [line] = (run.folder / "metrics" / "round_metrics.jsonl").read_text().splitlines()
    metrics = [{"name": DICE, "value": 0.8}, {"name": TRAINING_LOSS, "value": 1.5}]
    assert json.loads(line) == {
        "round": 3,
        "aggregated_metrics": [],
        "sites": [
            {"name": "hospital-a", "metrics": metrics, "weight": 12.0, "weight_key": MetaKey.NUM_STEPS_CURRENT_ROUND}
        ],
        "skipped_metrics": [],
    }
