"""What is attacked: a site of phantoms, the abdomen job made small, and the privacy settings that are compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fedgin.data.prepare import SiteData, prepare_site
from fedgin.data.privacy import Privacy
from fedgin.data.site import Modality, load_site
from fedgin.phantoms.site import BTCV_LABELS, write_site
from fedgin.phantoms.subject import PhantomSite
from fedgin.train.experiment import Experiment, load_experiment
from fedgin.train.privacy.protect import norm, protect

JOB = Path(__file__).resolve().parents[2] / "jobs/abdomen_fedgin/app/config/experiment.yaml"
SITE = "attacked"
MULTIPLIERS = (0.001, 0.01, 1.0)


def write_attacked_site(folder: Path, experiment: Experiment, cases: int) -> SiteData:
    """Write a CT site with as many test as training cases of the same generator, and prepare it."""
    site = PhantomSite(SITE, Modality.CT, cases, 1, cases, 7, BTCV_LABELS, in_plane_mm=4.0)
    return prepare_site(load_site(write_site(folder, site)), experiment.preprocessing, experiment.organs)


def small_experiment(augmentation: str, side: int, channels: list[int], training: Mapping[str, Any]) -> Experiment:
    """Return the abdomen job with square slices of 384 mm and a narrower network, trained at a constant rate."""
    values = load_experiment(JOB).model_dump(mode="json")
    values["preprocessing"] |= {"spacing_mm": 384.0 / side, "size": [side, side]}
    values["network"]["params"] = {"channels": channels}
    values["training"] |= {"schedule": "constant", **training}
    return Experiment.model_validate(values | {"augmentation": {"name": augmentation}})


def privacy_settings(update: Mapping[str, Tensor]) -> dict[str, Privacy]:
    """Return the settings that are compared; the clipping norm is that of the update itself."""
    length = norm(np.concatenate([value.flatten().numpy() for value in update.values()]))
    noise = {"clip_norm": length, "delta": 1e-5, "epsilon_budget": 1e15}
    settings = {f"noise multiplier {m:g}": Privacy(noise_multiplier=m, **noise) for m in MULTIPLIERS}
    return {
        "clip to 30 %": Privacy(clip_norm=0.3 * length),
        "largest 10 %": Privacy(keep_largest_percent=10.0),
    } | settings


def protected(update: Mapping[str, Tensor], received: Mapping[str, Tensor], privacy: Privacy) -> dict[str, Tensor]:
    """Apply a site's settings, with noise that is the same in each run of the benchmark."""
    return protect(update, received, privacy, normals=np.random.default_rng(0).standard_normal).difference
