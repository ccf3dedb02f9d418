"""``experiment.yaml``: everything a job says about training. Data only; names are looked up in registries."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from fedgin.config import Settings, load_settings, merged, spelt
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.site import Modality, OrganName
from fedgin.errors import ConfigError
from fedgin.nets.registry import check_network
from fedgin.nets.settings import NetworkSettings, Pretrained
from fedgin.registry import check_choice, declared
from fedgin.train.algorithm import AlgorithmSettings
from fedgin.train.augmentation_settings import AugmentationSettings

if TYPE_CHECKING:
    from torch import nn

    from fedgin.augment import Augmentation

# Beside the experiment.yaml of a job that scores a trained model: its weights, without code.
EVALUATED_MODEL = "model.safetensors"
DEFAULT_STEPS, DEFAULT_ORGAN_SHARE = 80, 0.75
LARGEST_BATCH = 4096
ROUND_LENGTHS = {"local_steps", "local_epochs"}


class SpatialSettings(Settings):
    """Random rotation, scaling and shift of training slices or patches, the same in every arm of a comparison.

    Attributes:
        probability: the probability of changing a slice or a patch at all.
        rotation_degrees: largest angle; a patch of a volume turns about each of its three axes.
        scale: largest relative change of size along each axis.
        shift_pixels: largest shift along each axis, in pixels or voxels.
    """

    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    rotation_degrees: float = Field(default=10.0, ge=0.0, le=180.0)
    scale: float = Field(default=0.1, ge=0.0, le=0.5)
    shift_pixels: float = Field(default=6.0, ge=0.0, le=128.0)


class LossSettings(Settings):
    """The training loss; organs that a site does not label are left out of it (see :mod:`fedgin.train.losses`)."""

    name: Literal["dice_ce", "dice_focal"] = "dice_ce"


class TrainingSettings(Settings):
    """How a site trains between receiving a global model and sending its update.

    Attributes:
        local_steps: optimiser steps a round, equal at every site, whatever its number of slices; 80 by default.
        local_epochs: in place of it, passes over the site's training slices a round, or over as many patches as cover
            its volumes: a site with more of them then makes more steps.
        batch_size: slices or patches in a step; in a pass over slices the last step has what is left.
        foreground_share: share of the slices that show an organ, or of the patches that are centred on one, each organ
            in its turn; 0.75 by default. A pass over slices shows each once, so it takes none.
        learning_rate: the learning rate of AdamW at the first step.
        weight_decay: the weight decay of AdamW.
        schedule: ``polynomial`` lowers the rate to 0 over the run as (1 - progress) ** 0.9; ``constant`` does not;
            ``plateau`` halves it, down to 1e-5, after four rounds in a row without a lower training loss at the site.
        optimizer_state: ``keep`` the optimiser's moments between rounds, at the site, or ``reset`` them each round.
        amp: mixed precision where it is faster: float16 on GPUs, bfloat16 on CPUs with Intel's AMX.
    """

    local_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    local_epochs: int | None = Field(default=None, ge=1, le=10_000)
    batch_size: int = Field(default=16, ge=1, le=LARGEST_BATCH)
    foreground_share: float | None = Field(default=None, ge=0.0, le=1.0)
    learning_rate: float = Field(default=3e-3, gt=0.0, le=1.0)
    weight_decay: float = Field(default=1e-4, ge=0.0, le=1.0)
    schedule: Literal["polynomial", "constant", "plateau"] = "polynomial"
    optimizer_state: Literal["keep", "reset"] = "keep"
    amp: bool = True

    @model_validator(mode="before")
    @classmethod
    def _a_round_has_a_length(cls, values: object) -> object:
        if isinstance(values, dict) and all(values.get(name) is None for name in ROUND_LENGTHS):
            return values | {"local_steps": DEFAULT_STEPS}
        return values

    @model_validator(mode="after")
    def _a_round_has_one_length(self) -> "TrainingSettings":
        if self.local_steps is not None and self.local_epochs is not None:
            raise ValueError("a round has local_steps or local_epochs, not both")
        return self

    @model_validator(mode="after")
    def _a_plateau_is_remembered(self) -> "TrainingSettings":
        if self.schedule == "plateau" and self.optimizer_state == "reset":
            raise ValueError("schedule plateau needs optimizer_state keep: it looks back over rounds")
        return self

    @property
    def steps(self) -> int:
        """Optimiser steps a round, where they do not depend on a site's data.

        Raises:
            ConfigError: they do.
        """
        if self.local_steps is None:
            raise ConfigError("a round has local_epochs, whose steps depend on the site", "give training.local_steps")
        return self.local_steps

    @property
    def organ_share(self) -> float:
        """Share of what a step sees that shows an organ."""
        return DEFAULT_ORGAN_SHARE if self.foreground_share is None else self.foreground_share

    @property
    def length(self) -> str:
        """How long a round is, in words."""
        if self.local_epochs is None:
            return f"{self.steps} steps"
        return "1 epoch" if self.local_epochs == 1 else f"{self.local_epochs} epochs"


class AgreedSite(Settings):
    """What the project lead and a site have agreed on before the job.

    Attributes:
        modality: the modality of the site.
        slices: largest number of training slices that the site may claim.
    """

    modality: Modality
    slices: int = Field(ge=1)


class FederationSettings(Settings):
    """How updates are weighted on the server, and what an update must be to count at all.

    Attributes:
        client_weighting: ``samples`` weighs a site by its training slices, ``uniform`` weighs every site the same,
            ``modality_balanced`` gives each modality the same total weight and splits it by slices inside.
        max_samples_per_site: largest number of training slices that a site may claim as its weight.
        agreed: what was agreed, by site's name. Where any site is named, one that is not, that claims more slices or
            another modality is refused. Where none is, a site is believed in its first update and held to it.
        max_norm_ratio: an update whose size differs by more than this factor from those of more than half of the others
            is refused; also one that a site's own privacy filter has made that much larger or smaller.
        homomorphic_encryption: the server adds up what it cannot read, and so cannot judge; see ``docs/privacy.md``.
        algorithm: what the server does with the mean of the updates, and what holds a site near the others.
        transfer: ``float16`` halves the bytes of an update, and a site sends what was rounded off in its next one.
    """

    client_weighting: Literal["samples", "uniform", "modality_balanced"] = "modality_balanced"
    max_samples_per_site: int = Field(default=1_000_000, ge=1)
    agreed: dict[Annotated[str, StringConstraints(min_length=1, max_length=64)], AgreedSite] = Field(
        default_factory=dict, max_length=10_000
    )
    max_norm_ratio: float = Field(default=10.0, gt=1.0)
    homomorphic_encryption: bool = False
    algorithm: AlgorithmSettings = AlgorithmSettings()
    transfer: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _a_server_that_cannot_read_only_adds(self) -> "FederationSettings":
        if self.homomorphic_encryption and self.algorithm.server_optimizer():
            raise ValueError(f"{self.algorithm.name} needs updates that the server can read: no homomorphic_encryption")
        return self

    @model_validator(mode="after")
    def _a_ciphertext_is_not_rounded(self) -> "FederationSettings":
        if self.homomorphic_encryption and self.transfer != "float32":
            raise ValueError(f"transfer {self.transfer} rounds what would be encrypted: no homomorphic_encryption")
        return self


MOST_EARLIER = 100
JobId = Annotated[
    str, StringConstraints(pattern=spelt(r"^[A-Za-z0-9_-]+$", "letters, digits, '_' and '-'"), max_length=64)
]


class Resumed(Settings):
    """Which job is gone on with; written by ``fedgin resume``.

    Attributes:
        job: FLARE's id of the job that ended early.
        round: the first round that is trained now, counted from 0.
        earlier: the jobs that it resumed in its turn, the latest first; a site that was away has nothing later.
    """

    job: JobId
    round: int = Field(ge=1)
    earlier: list[JobId] = Field(default=[], max_length=MOST_EARLIER)

    @property
    def jobs(self) -> list[str]:
        """All of them, the latest first."""
        return [self.job, *self.earlier]


class EvaluatedModel(Settings):
    """Which trained model is scored, without training; written by ``fedgin run jobs/evaluate --bundle``.

    Attributes:
        name: of the bundle.
        sha256: of :data:`EVALUATED_MODEL`, the file with the model's weights, which lies beside ``experiment.yaml``.
        modalities: that it was trained on.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    modalities: list[Modality] = Field(min_length=1, max_length=len(Modality))


class PostprocessingSettings(Settings):
    """What is done to a segmentation before it is scored or handed on.

    Attributes:
        largest_region: organs of which the largest connected region is kept alone, as nnU-Net does where that helped on
            validation cases (Isensee et al. 2021). Not for an organ that a patient may have in pieces.
    """

    largest_region: list[OrganName] = Field(default=[], max_length=100)


class Experiment(Settings):
    """The whole ``experiment.yaml``.

    Attributes:
        name: shown in logs and reports.
        organs: what is segmented, by name; class 1 is the first, and background is class 0.
        seed: every random number of a run is derived from it.
        preprocessing: images to network input.
        network: a registered network.
        loss: the training loss.
        augmentation: the appearance augmentation; ``none`` is FedAvg with our defaults, ``gin`` is FedGIN.
        spatial: geometric augmentation.
        training: steps, batches and optimiser.
        federation: weighting of sites.
        postprocessing: what is done to a segmentation.
        resumes: the job that this one goes on with; none in a job that starts anew.
        evaluates: the trained model that the job scores; none in a job that trains.
        collects: what the job asks of the sites without training or a model: their fingerprints. Such a job names no
            organs.
    """

    name: Annotated[
        str, StringConstraints(pattern=spelt(r"^[A-Za-z0-9_.-]+$", "letters, digits, '.', '_' and '-'"), max_length=64)
    ]
    collects: Literal["fingerprints"] | None = None
    organs: list[OrganName] = Field(default_factory=list, max_length=100, validate_default=True)
    seed: int = Field(default=42, ge=0, lt=2**31)
    preprocessing: Preprocessing = Preprocessing()
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    spatial: SpatialSettings = SpatialSettings()
    training: TrainingSettings = TrainingSettings()
    federation: FederationSettings = FederationSettings()
    postprocessing: PostprocessingSettings = PostprocessingSettings()
    resumes: Resumed | None = None
    evaluates: EvaluatedModel | None = None

    @field_validator("organs")
    @classmethod
    def _organs_are_distinct(cls, organs: list[str], info: ValidationInfo) -> list[str]:
        if bool(organs) == bool(info.data.get("collects")):
            raise ValueError("a job names an organ or more, unless it collects fingerprints")
        if len(set(organs)) < len(organs):
            raise ValueError("an organ is named twice")
        return organs

    @model_validator(mode="after")
    def _encrypted_updates_are_whole(self) -> "Experiment":
        if self.federation.homomorphic_encryption and self.network.normalisation in ("dsbn", "fedbn"):
            raise ValueError("homomorphic_encryption needs every weight of every site: not with dsbn or fedbn")
        return self

    @model_validator(mode="after")
    def _an_evaluated_model_is_whole(self) -> "Experiment":
        encrypted = self.federation.homomorphic_encryption
        if self.evaluates and (self.resumes or encrypted or self.network.normalisation == "fedbn"):
            raise ValueError("evaluates needs a finished, readable, whole model: no resumes, no encryption, no fedbn")
        return self

    @model_validator(mode="after")
    def _a_collection_is_nothing_else(self) -> "Experiment":
        if self.collects and self.model_dump(exclude_defaults=True).keys() - {"name", "collects"}:
            raise ValueError("a job that collects fingerprints has a name, and nothing else")
        return self

    @model_validator(mode="after")
    def _what_is_kept_is_segmented(self) -> "Experiment":
        for organ in self.postprocessing.largest_region:
            check_choice("organ of postprocessing.largest_region", dict.fromkeys(self.organs, ()), organ, ())
        return self

    @model_validator(mode="after")
    def _the_network_works_on_what_it_sees(self) -> "Experiment":
        check_network(self.network, self.preprocessing.network_size)
        return self

    @model_validator(mode="after")
    def _a_pass_shows_each_slice_once(self) -> "Experiment":
        training = self.training
        if training.local_epochs and training.foreground_share is not None and self.spatial_dims == 2:
            raise ValueError("local_epochs show each slice once: leave foreground_share out (null), or use local_steps")
        return self

    def with_organs(self, organs: list[str]) -> "Experiment":
        """Return the experiment with these of its organs alone."""
        kept = [organ for organ in self.postprocessing.largest_region if organ in organs]
        postprocessing = PostprocessingSettings(largest_region=kept)
        return self.model_copy(update={"organs": organs, "postprocessing": postprocessing})

    @property
    def in_one_piece(self) -> list[int]:
        """Class numbers of the organs of which the largest region is kept alone."""
        return [self.organs.index(organ) + 1 for organ in self.postprocessing.largest_region]

    @property
    def classes(self) -> int:
        """Number of network outputs: the organs and background."""
        return len(self.organs) + 1

    @property
    def spatial_dims(self) -> Literal[2, 3]:
        """Number of spatial axes of what the network sees: 2 for slices, 3 for patches of volumes."""
        return self.preprocessing.spatial_dims

    @property
    def starts_from(self) -> Pretrained | None:
        """The file of weights that the first round begins with; none in a job that resumes another, or evaluates."""
        return None if self.resumes or self.evaluates else self.network.pretrained

    def check_names(self) -> None:
        """Check the names of the augmentation and its parameters, without loading what they name.

        Raises:
            ConfigError: one does not exist; with the list of those that do.
        """
        augmentation = self.augmentation
        check_choice("augmentation", declared("fedgin.augment.methods"), augmentation.name, augmentation.params)

    def build_augmentation(self) -> "Augmentation[Any]":
        """Build the appearance augmentation.

        Raises:
            ConfigError: it has no such name or parameter, or does not fit slices or volumes, whichever they are.
        """
        # Here and below: consoles and FLARE's own processes read experiments, but never load PyTorch or MONAI for it.
        from fedgin.augment import build_augmentation

        augmentation = build_augmentation(self.augmentation.name, **self.augmentation.params)
        augmentation.check_axes(self.spatial_dims)
        return augmentation

    def initial_network(self) -> "nn.Module":
        """Build the network with its seeded initial weights; the same in every process.

        It comes inside a :class:`~fedgin.train.method_network.MethodNetwork` where the augmentation needs more of a
        network than to segment the image it is given.
        """
        from fedgin.nets.registry import build_network
        from fedgin.train.method_network import for_method

        method = self.build_augmentation()
        outputs = self.classes + method.extra_channels
        dims = self.spatial_dims
        network = build_network(self.network, spatial_dims=dims, out_channels=outputs, seed=self.seed)
        return for_method(network, method, self.classes)


def with_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's values with nested keys changed.

    ``local_epochs`` replaces ``local_steps``, or it this. An augmentation that is named replaces all of the other: none
    lends its parameters to another.
    """
    training = changes.get("training")
    named = ROUND_LENGTHS & training.keys() if isinstance(training, Mapping) else set()
    if len(named) == 1:
        values = merged(values, {"training": dict.fromkeys(ROUND_LENGTHS - named)})
    if names_augmentation(changes):
        values = {**values, "augmentation": AugmentationSettings().model_dump(mode="json")}
    return merged(values, changes)


def names_augmentation(changes: Mapping[str, Any]) -> bool:
    """Tell whether changes to ``experiment.yaml`` say which augmentation is meant."""
    augmentation = changes.get("augmentation")
    return isinstance(augmentation, Mapping) and "name" in augmentation


def load_experiment(path: Path) -> Experiment:
    """Read ``experiment.yaml``.

    Raises:
        ConfigError: the file is missing, or a key is unknown or out of range.
    """
    return load_settings(path, Experiment)
