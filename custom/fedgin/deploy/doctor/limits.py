"""The limits of the site, as the project lead will meet them."""

from fedgin.data.limits import Limits
from fedgin.data.validation.findings import Finding, passed, warn


def check_pause(limits: Limits) -> list[Finding]:
    """Say which jobs the site takes."""
    if limits.pause:
        return [warn("limits", "the site pauses: it refuses every job", "take 'limits.pause' out of site.yaml")]
    said = (
        f"a job may have {limits.parameters:,} weights, {limits.batch_pixels:,} pixels a batch, "
        f"{limits.local_steps:,} steps a round, {limits.rounds:,} rounds and {limits.hours:g} hours, "
        f"and the cache {limits.cache_gb:g} GB"
    )
    return [passed("limits", said)]
