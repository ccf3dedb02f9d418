"""What a site keeps on disk between the tasks of a run: a new process may be started for each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fedgin.errors import DataError
from fedgin.train.checkpoint import load_checkpoint, save_checkpoint
from fedgin.train.evaluate.scores import CaseScore, write_scores

# In the folder of a site's run: {"round", "before", "model"}, the local layers before and after the latest round.
LOCAL_LAYERS = "local_layers.pt"


def keep_scores(folder: Path, file: str, scores: Sequence[CaseScore], site: str) -> None:
    """Keep scores by case, which never leave the site, in the folder of its run.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        write_scores(folder / "scores" / file, scores)
    except OSError:
        raise DataError(
            f"site {site}: {file} cannot be written",
            "free disk space and check the permissions of the site's kit",
        ) from None


class KeptEntries:
    """Entries that a site keeps to itself between rounds, in one file.

    Args:
        path: the file.
        made_by: the settings under which entries are kept; those kept under others are as good as none.
    """

    def __init__(self, path: Path, made_by: str = "") -> None:
        self.path = path
        self.made_by = made_by

    def latest(self) -> dict[str, Tensor]:
        """Return the entries after the latest local training; none when there was none or nothing stays."""
        return self._read("model")

    def before(self, round_number: int) -> dict[str, Tensor]:
        """Return the entries that a round starts from, also when that round was trained before.

        In a site's first round there are none: it starts from those of the model that it received.
        """
        again = self.path.is_file() and round_number <= int(load_checkpoint(self.path)["round"])
        return self._read("before" if again else "model")

    def save(self, round_number: int, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        """Keep the entries from before and after the training of a round."""
        kept = {"round": round_number, "before": dict(before), "model": dict(after), "made_by": self.made_by}
        save_checkpoint(self.path, kept)

    def _read(self, key: str) -> dict[str, Tensor]:
        kept = load_checkpoint(self.path, key, "made_by") if self.path.is_file() else {}
        return dict(kept[key]) if kept and kept["made_by"] == self.made_by else {}


class SiteState:
    """Optimiser, local model, local layers and rounding of a site's run.

    Args:
        folder: the folder of the site's run.
        keep_optimizer: whether a round continues with the moments of the round before.
        privacy: the site's settings, as text: what a protected update has left over is not added to one that is
            protected in another way, nor what an unprotected one has.

    Attributes:
        local_layers: what never leaves the site.
        rounded_off: what a float16 update left over, see :mod:`fedgin.train.site.compression`.
    """

    def __init__(self, folder: Path, *, keep_optimizer: bool, privacy: str = "") -> None:
        self.folder = folder
        self.keep_optimizer = keep_optimizer
        self.local_layers = KeptEntries(folder / LOCAL_LAYERS)
        self.rounded_off = KeptEntries(folder / "rounded_off.pt", privacy)

    def optimizer_before(self, round_number: int) -> dict[str, Any] | None:
        """Return the optimiser's state after the latest round before this one; ``None`` where a round starts afresh.

        The round itself may have been trained before: FLARE asks again when an answer got lost, and a run that is
        resumed goes back to its last complete round. The same moments then give the same update.
        """
        earlier = [number for number in self._kept_optimizers() if number < round_number]
        if not self.keep_optimizer or not earlier:
            return None
        state: dict[str, Any] = load_checkpoint(self._optimizer(max(earlier)), "optimizer")["optimizer"]
        return state

    def save_optimizer(self, round_number: int, state: Mapping[str, Any]) -> None:
        """Keep the optimiser's state after a round, and that of the round before, which a resumed job needs."""
        if not self.keep_optimizer:
            return
        save_checkpoint(self._optimizer(round_number), {"optimizer": dict(state)})
        for number in self._kept_optimizers():
            if number < round_number - 1:
                self._optimizer(number).unlink()

    def local_model(self) -> dict[str, Tensor]:
        """Return the weights after the last local training.

        Raises:
            WeightsError: the site has not trained in this run.
        """
        weights: dict[str, Tensor] = load_checkpoint(self._local_model, "model")["model"]
        return weights

    def save_local_model(self, round_number: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights after the local training of a round."""
        save_checkpoint(self._local_model, {"round": round_number, "model": dict(weights)})

    @property
    def _local_model(self) -> Path:
        return self.folder / "local_model.pt"

    def _optimizer(self, round_number: int) -> Path:
        return self.folder / f"optimizer_round_{round_number:04d}.pt"

    def _kept_optimizers(self) -> list[int]:
        """Return the rounds after which a state is kept. As names, 10000 would come before 9999."""
        return [int(path.stem.rpartition("_")[2]) for path in self.folder.glob("optimizer_round_*[0-9].pt")]
