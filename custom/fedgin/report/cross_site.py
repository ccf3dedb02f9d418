"""FLARE's cross-site evaluation as a table: each model at each site."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedgin.page import natural_order

CrossSite = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class CrossSiteTable:
    """Mean Dice by site and model; a site may lack a model.

    Attributes:
        models: FLARE's names, the server's first.
        rows: by site, in the order of their numbers.
    """

    models: list[str]
    rows: dict[str, dict[str, float]]


def cross_site_table(cross_site: CrossSite) -> CrossSiteTable:
    """Take the mean Dice of test cases, or of validation cases where the site has no test case."""
    rows = {
        site: {model: _dice(metrics) for model, metrics in cross_site[site].items()}
        for site in sorted(cross_site, key=natural_order)
    }
    models = {model for dice in rows.values() for model in dice}
    return CrossSiteTable(sorted(models, key=lambda name: (not name.startswith("SRV_"), natural_order(name))), rows)


def _dice(metrics: Mapping[str, float]) -> float:
    split = "test" if "test_dice_mean" in metrics else "val"
    return metrics.get(f"{split}_dice_mean", math.nan)
