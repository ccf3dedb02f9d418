"""FedGIN: federated cross-modality segmentation with GIN augmentation, on NVIDIA FLARE."""

from fedgin.lean_imports import install

__version__ = "0.1.0"

install()
