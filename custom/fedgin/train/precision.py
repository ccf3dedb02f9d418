"""In which precision the forward pass of a training step computes on a CPU.

On a GPU MONAI's trainer uses mixed precision itself, with float16 and a scaler for its gradients.
"""

from typing import Any, Literal

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "float16"]


def precision_of(device: torch.device, *, amp: bool) -> Precision:
    """Return what a training step's forward pass is computed in.

    Args:
        device: that trains.
        amp: whether half precision is allowed, where it is faster.

    Example:
        >>> precision_of(torch.device("cuda"), amp=True), precision_of(torch.device("cpu"), amp=False)
        ('float16', 'float32')
    """
    if not amp:
        return "float32"
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if computes_bfloat16() else "float32"


def computes_bfloat16() -> bool:
    """Tell whether this CPU multiplies matrices of bfloat16 (Intel's AMX); others are slower with it than without."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


class BFloat16Inferer(SimpleInferer):
    """Compute a network's convolutions in bfloat16 and what is delicate in float32, as autocast has it.

    bfloat16 has the range of float32, so that no gradient becomes 0 and none needs scaling. Weights, losses and the
    optimiser stay in float32.
    """

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Return the network's outputs for images [B, 1, *spatial], in bfloat16."""
        with torch.autocast("cpu", torch.bfloat16):
            return super().__call__(inputs, network, *args, **kwargs)
