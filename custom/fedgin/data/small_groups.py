"""Groups so small that a number about them would say too much about each of them."""

# A statistic over fewer cases, or patients, says too much about each: it is not shared.
MIN_GROUP = 3
# Of so many, three lie at or beyond percentile 10, and three at or beyond percentile 90.
TAIL_GROUP = 12


def suppress(count: int, total: int | None = None) -> int | str:
    """Return a count that may be shared: ``<3`` for a small group, ``>N`` where all but a small group are in it."""
    if count < MIN_GROUP:
        return f"<{MIN_GROUP}"
    if total is not None and 0 < total - count < MIN_GROUP:
        return f">{total - MIN_GROUP}"
    return count
