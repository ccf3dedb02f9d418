"""Segment new images with a bundle, one in memory at a time, each with what is unlike the training."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedgin.data.label_values import count_ids
from fedgin.data.nifti_file import nifti_stem
from fedgin.data.preprocessing import preprocess
from fedgin.data.regions import keep_largest_regions
from fedgin.data.site import Modality
from fedgin.data.volumes import Volume, is_hu_like, load_nifti, refuse_contradiction
from fedgin.deploy.bundle import Bundle, load_bundle
from fedgin.deploy.unlike import describe_cuts, find_unlike
from fedgin.errors import DataError
from fedgin.files import whole_file
from fedgin.train.evaluate.inference import CaseInferer, Segmented, segment_case


@dataclass(frozen=True)
class Prediction:
    """The segmentation of one image.

    Attributes:
        labels: uint8 [X, Y, Z] on the image's own grid, organ positions plus 1.
        volumes_ml: the volumes in millilitres, by organ, in the experiment's order.
        warnings: in what the image or the result is unlike the training; empty for nothing.
    """

    labels: NDArray[np.uint8]
    volumes_ml: dict[str, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Segmenter:
    """A bundle that is ready to segment.

    Attributes:
        bundle: where network and settings come from.
        network: the network of the bundle, in evaluation mode.
        device: where it computes.
    """

    bundle: Bundle
    network: nn.Module
    device: torch.device

    def segment(self, image: Volume, modality: Modality) -> Prediction:
        """Segment an image.

        Args:
            image: voxels [X, Y, Z], CT in Hounsfield units, in any orientation.
            modality: the modality of the image; the bundle need not be trained on it, but the prediction then says so.

        Raises:
            DataError: NaN or infinite voxels, or an image that is flat.
        """
        _refuse_senseless(image)
        experiment = self.bundle.experiment
        nothing = np.zeros(image.voxels.shape, dtype=np.uint8)
        prepared = preprocess(image, nothing, modality is Modality.CT, experiment.preprocessing)
        inferer = CaseInferer(experiment.preprocessing.network_size, self.device)
        trained = self.bundle.provenance.modalities
        # With DSBN the layers of a modality that no site had were never trained; those of the other one come nearest.
        layers = modality if modality in trained else next(iter(trained), modality)
        case = Segmented(layers.value, prepared.affine, prepared.native)
        labels = segment_case(self.network, prepared.image, case, inferer)
        cuts = keep_largest_regions(labels, experiment.in_one_piece)
        volumes = measure(labels, list(experiment.organs), image.voxel_ml)
        warnings = find_unlike(image, modality, labels, volumes, self.bundle.provenance)
        return Prediction(labels, volumes, (*warnings, *describe_cuts(cuts, experiment.organs)))

    def write_nifti(self, image: str, folder: str) -> str:
        """Segment a NIfTI image and write ``NAME_seg.nii.gz`` on its grid; MONAI's runner calls this.

        Returns:
            the path that was written.
        """
        source = Path(image)
        volume = read_nifti(source)
        prediction = self.segment(volume, guess_modality(volume))
        target = Path(folder) / f"{nifti_stem(source)}_seg.nii.gz"
        write_labels(target, prediction.labels, volume.affine)
        return str(target)


def open_segmenter(bundle: str | Path) -> Segmenter:
    """Load a bundle on the GPU, where there is one, or on the CPU.

    Raises:
        ConfigError: the folder is no bundle.
        WeightsError: its weights are damaged or not its own.
    """
    loaded = load_bundle(Path(bundle))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Segmenter(loaded, loaded.network().to(device), device)


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI image as float32.

    Raises:
        DataError: the file is unreadable, no image of two or three axes, or its header contradicts itself.
    """
    image = load_nifti(path, "the image")
    refuse_contradiction("the image", image)
    return Volume(np.asarray(image.voxels, dtype=np.float32), image.affine, image.header)


def guess_modality(volume: Volume) -> Modality:
    """Tell by the grey values: what looks like Hounsfield units is CT."""
    return Modality.CT if is_hu_like(volume.voxels) else Modality.MR


def write_labels(path: Path, labels: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Write labels [X, Y, Z] as NIfTI with a header that says nothing but geometry."""
    image = nibabel.Nifti1Image(labels, affine)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as part:
        image.to_filename(part)


def measure(labels: NDArray[np.uint8], organs: list[str], voxel_ml: float) -> dict[str, float]:
    """Return the volume of each organ in millilitres."""
    counts = count_ids(labels)
    return {organ: float(counts[position] * voxel_ml) for position, organ in enumerate(organs, start=1)}


def _refuse_senseless(image: Volume) -> None:
    if not np.isfinite(image.voxels).all():
        raise DataError("the image holds NaN or infinite voxels", "export the series again")
    if image.voxels.min() == image.voxels.max():
        raise DataError("every voxel of the image has the same value", "export the series again")
