import math
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.dxo import MetaKey
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedgin.flare.participation import Absence, Contribution
from fedgin.flare.protocol import DICE, VERDICT
from fedgin.flare.server.model_selector import AcceptedModelSelector
from tests.flare.runs import lay_out_server, make_context
from tests.flare.server.updates import send
from tests.sites import tiny_experiment

LET_IN = Contribution("CT", 12.0, 1, 2, 5, 12)
REFUSED = Absence("b", "entry 'w' holds NaN")
Answer = tuple[Contribution | Absence | None, object]


def best_after(folder: Path, *rounds: list[Answer]) -> tuple[float, int]:
    """Run rounds, from 1; return the best mean Dice and how often a model was announced as the best."""
    context = make_context(lay_out_server(folder, tiny_experiment()), "server")
    announced: list[str] = []
    context.get_engine().fire_event = lambda event, fl_ctx: announced.append(event)
    selector: Any = AcceptedModelSelector()
    for number, answers in enumerate(rounds, start=1):
        context.set_prop(AppConstants.CURRENT_ROUND, number, private=True, sticky=False)
        selector.handle_event(AppEventType.ROUND_STARTED, context)
        for verdict, metrics in answers:
            answer(selector, context, number, verdict, metrics)
        selector.handle_event(AppEventType.BEFORE_AGGREGATION, context)
    return float(selector.best_val_metric), announced.count(AppEventType.GLOBAL_BEST_MODEL_AVAILABLE)


def answer(selector: AcceptedModelSelector, context: FLContext, number: int, verdict: object, metrics: object) -> None:
    """Fire what the controller fires around one update."""
    update = send("a", "CT", 12.0, {}, number, **{MetaKey.INITIAL_METRICS: metrics})
    peer = FLContext()
    peer.set_prop(FLContextKey.SHAREABLE, update, private=True, sticky=False)
    peer.set_prop(ReservedKey.IDENTITY_NAME, "a", private=False, sticky=False)
    context.set_peer_context(peer)
    selector.handle_event(AppEventType.BEFORE_CONTRIBUTION_ACCEPT, context)
    context.set_prop(VERDICT, verdict, private=True, sticky=False)
    selector.handle_event(AppEventType.AFTER_CONTRIBUTION_ACCEPT, context)


def test_a_refused_site_has_no_say(tmp_path: Path) -> None:
    found = best_after(tmp_path, [(LET_IN, {DICE: 0.4}), (REFUSED, {DICE: 1.0})], [(LET_IN, {DICE: 0.5})])
    assert found == (0.5, 2)


def test_a_worse_model_is_not_the_best(tmp_path: Path) -> None:
    found = best_after(tmp_path, [(LET_IN, {DICE: 0.4}), (LET_IN, {DICE: 0.6})], [(LET_IN, {DICE: 0.2})])
    assert found == (0.5, 1)


@pytest.mark.parametrize("claim", [1e9, -0.1, "0.9", None, math.nan, math.inf])
def test_a_claim_that_is_no_dice_does_not_count(tmp_path: Path, claim: object) -> None:
    assert best_after(tmp_path, [(LET_IN, {DICE: claim}), (LET_IN, {DICE: 0.3})]) == (0.3, 1)


def test_metrics_of_another_kind_do_not_count(tmp_path: Path) -> None:
    assert best_after(tmp_path, [(LET_IN, [0.9]), (LET_IN, {DICE: 0.3})]) == (0.3, 1)
