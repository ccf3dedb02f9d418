"""Filters of FLARE with which a participant of a simulated job is hostile."""

import copy
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.client import executor
from fedgin.flare.jobs.application import Application, read_application

VICTIM, ATTACKER = "mr-a", "ct-a"
Model = dict[str, Any]


def _read_without_filters(app: Path) -> Application:
    """Read a job as one without filters: a site would refuse it, and they stand for a process that is not ours."""
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(shutil.copytree(app, Path(folder) / "app"))
        for path in (ours / "config").glob("config_fed_*.json"):
            values = json.loads(path.read_text())
            kept = {key: [] if key.startswith("task_") else value for key, value in values.items()}
            if path.name == "config_fed_server.json":
                kept = {key: value for key, value in kept.items() if not key.startswith("task_")}
            path.write_text(json.dumps(kept))
        return read_application(ours)


setattr(executor, read_application.__name__, _read_without_filters)


def _changed(change: Callable[[np.ndarray], object]) -> Callable[[Model], Model]:
    """Change the first entry of a model."""
    return lambda model: {**model, min(model): change(model[min(model)])}


def _filled(value: float) -> Callable[[Model], Model]:
    return lambda model: {name: np.full_like(entry, value) for name, entry in model.items()}


# What the server does to the model that the victim gets, by round.
DAMAGES: dict[str, Callable[[Model], Model]] = {
    "nothing": dict,
    "all NaN": _filled(np.nan),
    "too large for float32": _changed(lambda entry: np.full(entry.shape, 1e300)),
    "huge": _filled(1e30),
    "another shape": _changed(lambda entry: entry[:-1]),
    "an extra entry": lambda model: {**model, "../../extra": np.zeros(2, np.float32)},
    "8 MB too much": lambda model: {**model, "more": np.zeros(2**20)},
    "a missing entry": lambda model: {name: model[name] for name in sorted(model)[1:]},
    "nothing again": dict,
}


class HostileServer(Filter):
    """Damages the model on its way to the victim, in each round in another way."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return what the site gets."""
        if fl_ctx.get_peer_context().get_identity_name() != VICTIM:
            return shareable
        damage = list(DAMAGES.values())[shareable.get_header(AppConstants.CURRENT_ROUND)]
        task, model = copy.copy(shareable), from_shareable(shareable)
        return DXO(DataKind.WEIGHTS, damage(dict(model.data)), model.meta).update_shareable(task)


class HostileSite(Filter):
    """Adds 64 MB to the attacker's first update."""

    def __init__(self) -> None:
        super().__init__()
        self.done = False

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return what the server gets."""
        if fl_ctx.get_identity_name() == ATTACKER and not self.done:
            self.done = True
            shareable["DXO"]["data"] |= {f"extra {number}": np.zeros(2**18, np.float32) for number in range(64)}
        return shareable


class HostileAnswers(Filter):
    """Answers in the attacker's final evaluation with what no honest site sends, each time with something else."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return what the server gets."""
        if fl_ctx.get_identity_name() != ATTACKER:
            return shareable
        best = DXO(DataKind.METRICS, {"val_dice_mean": 1.0})
        answers = [
            DXO(DataKind.METRICS, {b"x": 1.0}),
            DXO(DataKind.COLLECTION, {"0": best, "/../1": best}),
            DXO(DataKind.COLLECTION, {"0": DXO(DataKind.APP_DEFINED, {"x": [1.0]})}),
        ]
        self.sent += 1
        return answers[self.sent % len(answers)].update_shareable(shareable)
