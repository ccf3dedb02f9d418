"""Items that take turns: each is dealt once before any is dealt again."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

ItemT = TypeVar("ItemT")


def in_turn(items: Sequence[ItemT], generator: torch.Generator) -> Iterator[ItemT]:
    """Deal all items in a drawn order, then again in another, without end; nothing where there are none.

    >>> from itertools import islice
    >>> sorted(islice(in_turn(["liver", "spleen"], torch.Generator()), 4))
    ['liver', 'liver', 'spleen', 'spleen']
    """
    while items:
        for position in torch.randperm(len(items), generator=generator).tolist():
            yield items[position]
