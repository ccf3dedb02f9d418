"""Every registered network, narrowed so that a test of all of them takes little time."""

from typing import Any

TINY: dict[str, dict[str, Any]] = {
    "attention_unet": {"channels": [4, 8]},
    "dynunet": {"channels": [4, 8, 8]},
    "fedgin_unet": {"width": 4},
    "mednext": {"init_filters": 4, "blocks": [1, 1, 1], "expansions": [2, 2, 2]},
    "resenc": {"channels": [4, 8, 8], "blocks": [1, 2, 1]},
    "segresnet": {"init_filters": 8},
    "segresnet_ds": {"init_filters": 8},
    "swin_unetr": {"feature_size": 12, "depths": [1, 1, 1, 1], "window_size": 2},
    "unet": {"channels": [4, 8], "residual_units": 1},
}
