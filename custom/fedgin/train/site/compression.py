"""An update in half the bytes: float16, and what was rounded off goes with the next round's (error feedback).

Rounding alone would lose something in every round. With the rest kept, the sum of all that was sent differs from the
sum of all updates by the last rest only (Seide et al., Interspeech 2014; Karimireddy et al., ICML 2019).

FLARE's own quantiser keeps no rest, cuts off what is too large, and loads PyTorch and bitsandbytes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedgin.errors import WeightsError

LARGEST = torch.finfo(torch.float16).max
# BatchNorm's variance must not fall below 0, which a rounded difference could bring about; it has few values.
WHOLE = "running_var"


def halve(difference: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Round an update, with what earlier rounds left over added to it.

    A value of exactly 0 stays 0, and its rest waits: a site that sends its largest values only sends no others for it.

    Args:
        difference: the update, float32, by state-dict name.
        rest: what the round before left over; an entry that is not in it has none.

    Returns:
        The update as float16, BatchNorm's variances as float32; and the new rest, float32. For each value, both
        together are the old rest and the update.

    Raises:
        WeightsError: a value is too large for float16, which ends at 65,504.
    """
    sent, left = {}, {}
    for name, value in difference.items():
        if name.endswith(WHOLE):
            sent[name] = value
            continue
        before = rest.get(name, torch.zeros_like(value))
        whole = torch.where(value == 0.0, 0.0, value + before)
        if bool((whole.abs() > LARGEST).any()):
            raise WeightsError(
                f"entry '{name}' of the update is larger than {LARGEST:,.0f}, which float16 cannot hold",
                "lower training.learning_rate, or leave federation.transfer at float32",
            )
        sent[name] = whole.half()
        left[name] = value + before - sent[name].float()
    return sent, left
