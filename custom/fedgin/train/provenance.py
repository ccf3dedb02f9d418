"""Where a trained model comes from: ``provenance.json``, which every run writes beside its model.

A model card is filled from it and from nothing else. What a run does not know is ``None`` here, and the card says so.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

import fedgin
from fedgin.config import Settings
from fedgin.data.appearance import Appearance
from fedgin.data.site import Modality
from fedgin.errors import ConfigError
from fedgin.files import write_text
from fedgin.manifest import package_hash
from fedgin.train.experiment import Experiment

FILE = "provenance.json"
Kind = Literal["federated", "federated in the simulator", "centralised", "one site"]


class Participant(Settings):
    """A site that trained the model.

    Attributes:
        site: the name under which it took part.
        modality: the modality of its images.
        training_cases: how many it trained on; ``None`` where the site did not say.
        rounds: in how many rounds its update was averaged; for training at one place, all of them. ``None`` of a job
            that was resumed where it took part before, too: only the rounds since then are counted.
    """

    site: str
    modality: Modality
    training_cases: int | None = None
    rounds: int | None


class Measured(Settings):
    """A mean Dice that the run measured.

    Attributes:
        site: whose cases; empty for those of all sites.
        modality: the modality of the cases.
        organ: empty for the mean of organs.
        split: ``test`` or ``validation``.
        dice: 0 to 1.
        interval: 95 % bootstrap interval over patients; ``None`` where only the mean left the site.
        patients: how many; ``None`` where that did not leave the site.
    """

    site: str = ""
    modality: Modality
    organ: str = ""
    split: Literal["test", "validation"]
    dice: float = Field(ge=0.0, le=1.0)
    interval: tuple[float, float] | None = None
    patients: int | None = None


class Provenance(Settings):
    """What is known of a run and its model.

    Attributes:
        kind: how it was trained.
        run: FLARE's job id, or the name of the run's folder.
        experiment: the experiment of the run.
        rounds: the rounds of the run.
        model: file name of the model, relative to this file.
        chosen: which round's model it is and why, as a sentence.
        participants: the sites.
        measured: what was measured of this very model.
        volumes_ml: by organ, the smallest and largest volume in millilitres in the reference labels of the measured
            cases, where they are of three patients or more.
        appearances: how the training images looked, where they are of three patients or more.
        fault: what keeps the run from being a success; empty for a good one.
        finished: time of the end, UTC.
        version: the version of this package.
        package_sha256: of the installed package's files.
    """

    kind: Kind
    run: str
    experiment: Experiment
    rounds: int
    model: str
    chosen: str
    participants: list[Participant]
    measured: list[Measured] = Field(default=[])
    volumes_ml: dict[str, tuple[float, float]] = Field(default={})
    appearances: list[Appearance] = Field(default=[])
    fault: str = ""
    finished: datetime = Field(default_factory=lambda: datetime.now(UTC))
    version: str = fedgin.__version__
    package_sha256: str = Field(default_factory=package_hash)

    @property
    def modalities(self) -> list[Modality]:
        """Modalities that the model was trained on, sorted."""
        return sorted({item.modality for item in self.participants})


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write ``provenance.json`` into the folder of a run."""
    write_text(folder / FILE, provenance.model_dump_json(indent=1) + "\n")


def read_provenance(folder: Path) -> Provenance:
    """Read ``provenance.json`` of a run or a bundle.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = folder / FILE
    try:
        return Provenance.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            f"{folder.name} holds no {FILE}",
            "give the folder of a finished 'fedgin run', 'fedgin train', or one arm of a demo or study",
        ) from None
    except ValidationError:
        raise ConfigError(f"{folder.name}/{FILE} is damaged, or of another version", "run it again") from None
