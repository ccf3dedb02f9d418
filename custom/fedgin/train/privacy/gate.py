"""What a site sends after a round, and the one gate through which it goes when the site has privacy settings."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fedgin.data.privacy import Privacy
from fedgin.errors import PrivacyError
from fedgin.train.checkpoint import load_checkpoint, save_checkpoint
from fedgin.train.privacy.budget import PrivacyLedger
from fedgin.train.privacy.protect import Normals, protect
from fedgin.train.site.update import LocalUpdate

EPSILON = "privacy_epsilon"


class PrivacyGate:
    """Protects each round's update once, writes it down, and hands out nothing else.

    FLARE repeats a task whose answer was lost. A second draw of noise on the same update would halve its variance for
    whoever averages the two, so the very update that was made for a received model is sent again. The same round with
    another received model is another update, and charged as one.

    Args:
        privacy: the site's settings.
        file: where the last protected update is kept, with the model that ``submit_model`` may show.
        ledger: the ledger of the site's dataset.
        experiment: name of the experiment, for the ledger.
        normals: as in :func:`~fedgin.train.privacy.protect.protect`.
    """

    def __init__(
        self, privacy: Privacy, file: Path, ledger: PrivacyLedger, experiment: str, *, normals: Normals | None = None
    ) -> None:
        self.privacy = privacy
        self.file = file
        self.ledger = ledger
        self.experiment = experiment
        self.normals = normals

    def earlier(self, received: Mapping[str, Tensor], round_number: int) -> LocalUpdate[Tensor] | None:
        """Return the update that was released for this task before; otherwise see that the budget allows a new one.

        Raises:
            PrivacyError: the budget is spent or the ledger damaged.
            WeightsError: the stored update is damaged.
        """
        kept = load_checkpoint(self.file) if self.file.exists() else {}
        if kept.get("task") == self._task(received, round_number):
            names = ("difference", "metrics", "weight", "loss", "trained", "withheld", "protection")
            return LocalUpdate(**{name: kept[name] for name in names})
        if self.privacy.noise_multiplier is not None:
            self.ledger.check(self.privacy)
        return None

    def release(
        self, update: LocalUpdate[Tensor], received: Mapping[str, Tensor], round_number: int
    ) -> LocalUpdate[Tensor]:
        """Protect an update, charge it and keep it; only what this returns may leave the site.

        Raises:
            PrivacyError: a setting cannot be kept, or the budget is spent.
            WeightsError: the protected update cannot be written; it could not be repeated then.
        """
        cpu = {name: value.detach().cpu() for name, value in received.items()}
        protected = protect(update.difference, cpu, self.privacy, normals=self.normals)
        metrics = dict(update.metrics)
        if self.privacy.noise_multiplier is not None:
            metrics[EPSILON] = self.ledger.charge(self.privacy, self.experiment, round_number)
        released = replace(
            update,
            difference=protected.difference,
            metrics=metrics,
            withheld=sorted(update.difference.keys() - protected.difference.keys()),
            protection=protected.summary,
        )
        model = {name: value + released.difference.get(name, 0.0) for name, value in cpu.items()}
        task = self._task(received, round_number)
        save_checkpoint(self.file, {**vars(released), "task": task, "model": model})
        return released

    def model(self) -> dict[str, Tensor]:
        """Return the received model of the last round plus the protected update: nothing that was not sent already.

        Raises:
            PrivacyError: the update was made under other settings.
            WeightsError: the site has released nothing in this run.
        """
        kept: dict[str, Any] = load_checkpoint(self.file)
        if kept["task"]["privacy"] != self.privacy.model_dump_json():
            raise PrivacyError(
                "the last update was made under other privacy settings", "let the site train a round under the new ones"
            )
        model: dict[str, Tensor] = kept["model"]
        return model

    def _task(self, received: Mapping[str, Tensor], round_number: int) -> dict[str, Any]:
        return {"round": round_number, "received": _digest(received), "privacy": self.privacy.model_dump_json()}


def _digest(weights: Mapping[str, Tensor]) -> str:
    state = hashlib.sha256()
    for name in sorted(weights):
        state.update(name.encode())
        state.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
