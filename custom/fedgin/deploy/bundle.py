"""A trained model as a MONAI bundle: weights without code, how to prepare an image, where the model comes from.

MONAI's own runner executes ``configs/inference.json``; the classes that it names are in this package, which therefore
must be installed where the bundle is used.
"""

import hashlib
import json
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

import fedgin
from fedgin.errors import ConfigError, WeightsError
from fedgin.files import hash_file, write_text
from fedgin.train.checkpoint import averaged_weights, load_checkpoint, load_weights
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import Provenance, read_provenance, write_provenance

WEIGHTS = Path("models") / "model.safetensors"
METADATA = Path("configs") / "metadata.json"
INFERENCE = Path("configs") / "inference.json"
# What the runner needs at least; the exact versions that made the bundle stand in its metadata, too.
PACKAGES = ("monai", "torch", "numpy", "nibabel", "pydicom", "highdicom", "safetensors")
NOT_A_DEVICE = "For research only. This is not a medical device and must not guide the care of a patient."


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        folder: the folder of the bundle.
        provenance: where the model comes from.
    """

    folder: Path
    provenance: Provenance

    @property
    def experiment(self) -> Experiment:
        """Return the experiment that the model was trained with."""
        return self.provenance.experiment

    @property
    def label_ids(self) -> dict[str, int]:
        """Return the id of each organ in the label files that the bundle writes."""
        return {organ: position for position, organ in enumerate(self.experiment.organs, start=1)}

    @property
    def sha256(self) -> str:
        """Return the hash of the weights file, by which results name the model."""
        return hash_file(self.folder / WEIGHTS)

    def network(self) -> nn.Module:
        """Build the network with the bundle's weights, in evaluation mode.

        Raises:
            WeightsError: the weights are missing, damaged, other than the bundle was made with, or of another network.
        """
        try:
            stated = json.loads((self.folder / METADATA).read_text(encoding="utf-8"))["weights_sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            raise WeightsError(f"{METADATA} is missing or damaged", "get the bundle again") from None
        try:
            content = (self.folder / WEIGHTS).read_bytes()
            weights = safetensors.torch.load(content)
        except Exception:  # a damaged file raises many kinds
            raise WeightsError(f"{WEIGHTS} is missing or damaged", "get the bundle again") from None
        if hash_weights(content) != stated:
            raise WeightsError(f"{WEIGHTS} is not the file that the bundle was made with", "get the bundle again")
        network = self.experiment.initial_network()
        load_weights(network, weights, source=WEIGHTS.name)
        return network.eval()


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle that :func:`write_bundle` wrote.

    Raises:
        ConfigError: the folder is no bundle of this package.
    """
    if not (folder / METADATA).is_file():
        raise ConfigError(f"{folder.name} is no bundle", "give the folder that 'fedgin export' wrote")
    return Bundle(folder, read_provenance(folder / "configs"))


def load_network(bundle: str) -> nn.Module:
    """Return the network of a bundle; MONAI's runner calls this."""
    return load_bundle(Path(bundle)).network()


def read_model(run: Path, provenance: Provenance) -> bytes:
    """Return the weights of a run's model as a bundle holds them, in one file of safetensors.

    Raises:
        ConfigError: the run was encrypted or FedBN, so that its model is not whole.
        WeightsError: the model is missing, damaged or of another network.
    """
    experiment = provenance.experiment
    if experiment.federation.homomorphic_encryption:
        raise ConfigError(
            f"the model of {provenance.run} is encrypted", "decrypt it at a site: fedgin site decrypt --help"
        )
    if experiment.network.normalisation == "fedbn":
        raise ConfigError(
            f"{provenance.run} was trained with fedbn, so each site keeps layers of its own",
            "train with normalisation instance, batch or dsbn for a model that leaves the federation",
        )
    network = experiment.initial_network()
    load_weights(network, load_checkpoint(run / provenance.model, "model")["model"], source=provenance.model)
    # safetensors takes tensors in C order alone.
    return safetensors.torch.save({name: value.contiguous() for name, value in averaged_weights(network).items()})


def write_bundle(folder: Path, provenance: Provenance, weights: bytes) -> Bundle:
    """Write everything but the model card into ``folder``.

    Args:
        folder: the folder of the new bundle.
        provenance: the provenance of the model.
        weights: of :func:`read_model`.
    """
    (folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    write_text(folder / METADATA, json.dumps(_metadata(provenance, hash_weights(weights)), indent=2) + "\n")
    write_text(folder / INFERENCE, json.dumps(_inference(), indent=2) + "\n")
    write_provenance(folder / "configs", provenance)
    return Bundle(folder, provenance)


def hash_weights(weights: bytes) -> str:
    """Return the SHA-256 of a weights file; see :attr:`Bundle.sha256`."""
    return hashlib.sha256(weights).hexdigest()


def bundle_name(provenance: Provenance) -> str:
    """Return a name that stands in series descriptions: experiment and the start of the run's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{provenance.experiment.name}-{provenance.run}")[:64]


def _metadata(provenance: Provenance, digest: str) -> dict[str, Any]:
    """Return what MONAI's bundle specification asks for."""
    experiment = provenance.experiment
    channels = {"0": "background"} | {str(i): organ for i, organ in enumerate(experiment.organs, start=1)}
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": " or ".join(provenance.modalities),
        "num_channels": 1,
        "spatial_shape": list(experiment.preprocessing.network_size),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": experiment.spatial_dims == 3,
        "channel_def": {"0": "image"},
    }
    output = {**image, "format": "segmentation", "num_channels": experiment.classes, "channel_def": channels}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "name": bundle_name(provenance),
        "version": fedgin.__version__,
        "changelog": {fedgin.__version__: f"exported from {provenance.run}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name).partition("+")[0] for name in PACKAGES},
        "python_version": platform.python_version(),
        "task": f"Segmentation of {', '.join(experiment.organs)}",
        "description": f"{provenance.chosen} {NOT_A_DEVICE}",
        "authors": "the sites named in docs/README.md",
        "copyright": "see docs/README.md",
        "intended_use": NOT_A_DEVICE,
        "weights_sha256": digest,
        "package_sha256": provenance.package_sha256,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": output}},
    }


def _inference() -> dict[str, Any]:
    """Return a configuration for MONAI's runner: ``python -m monai.bundle run --bundle_root BUNDLE ...``."""
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/output'",
        "segmenter": {"_target_": "fedgin.deploy.predict.open_segmenter", "bundle": "@bundle_root"},
        "images": "$sorted(glob.glob(@dataset_dir + '/*.nii*'))",
        "run": ["$[@segmenter.write_nifti(image, @output_dir) for image in @images]"],
    }
