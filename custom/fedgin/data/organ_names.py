"""What a name like that of a known organ means.

A site and a job find each other's organs by name. So a misspelt name trains nothing, without a word; a name that is
really new is allowed, and everybody has to spell it alike.
"""

import difflib
import re
from collections import Counter
from collections.abc import Collection
from enum import Enum

from fedgin.data.organs import ORGANS, PLAIN
from fedgin.errors import ConfigError

# A word that agrees by this share with a known one is a slip of the keyboard: one letter in four.
SLIP = 0.75
SHORTEST_SLIP = 4
# Words that some names have and others leave out.
FILLERS = {"and", "gland", "of", "the"}
# How others write a word of ours.
SPELLINGS = {
    "esophagus": "oesophagus",
    "hemorrhage": "haemorrhage",
    "tumor": "tumour",
    "disk": "disc",
    "l": "left",
    "lt": "left",
    "r": "right",
    "rt": "right",
}


class Likeness(Enum):
    """How a name is like a known one."""

    SAME = "another name of"
    SLIP = "a slip in"


def resembled(name: str, among: Collection[str] = ORGANS.keys()) -> tuple[str, Likeness] | None:
    """Return the organ that is meant by a name which is not in ``among``; ``None`` for one that is like none of them.

    Example:
        >>> resembled("livr")
        ('liver', <Likeness.SLIP: 'a slip in'>)
        >>> resembled("kidney_left")
        ('left_kidney', <Likeness.SAME: 'another name of'>)
        >>> resembled("left_kidney_stone")
    """
    words = _meaning(name)
    for known in among:
        others = (known, *ORGANS.get(known, PLAIN).other_names)
        if words in map(_meaning, others) or name.replace("_", "") in {other.replace("_", "") for other in others}:
            return known, Likeness.SAME
    likeness = {known: _agreement(words, _meaning(known)) for known in among}
    best = max(likeness, key=lambda known: likeness[known], default="")
    return (best, Likeness.SLIP) if best and likeness[best] >= SLIP else None


def organ_of(text: str, *, slips: bool = False) -> str:
    """Return the known organ that a text from outside names; the text itself, in the letters of names, if it is none.

    Args:
        text: such as a name in ``dataset.json``.
        slips: whether a slip in a known name is that organ too.

    Example:
        >>> organ_of("Kidney left"), organ_of("Left kidney stone "), organ_of("arota"), organ_of("arota", slips=True)
        ('left_kidney', 'left_kidney_stone', 'arota', 'aorta')
    """
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    like = None if name in ORGANS else resembled(name)
    return like[0] if like and (slips or like[1] is Likeness.SAME) else name


def check_organs(names: Collection[str]) -> None:
    """Refuse what looks like a slip in a known organ's name.

    Raises:
        ConfigError: names every slip and what is meant.
    """
    likely = {name: resembled(name) for name in names if name not in ORGANS}
    slips = {name: like[0] for name, like in likely.items() if like and like[1] is Likeness.SLIP}
    if slips:
        found, meant = (", ".join(f"'{name}'" for name in part) for part in (slips.keys(), slips.values()))
        fix = f"did you mean {meant}? A job and its sites must write an organ alike"
        raise ConfigError(f"unknown organ {found}", fix)


def doubtful_organs(names: Collection[str]) -> list[str]:
    """Say which names are not known, or are other words for a known organ: sites may label it by another name."""
    doubts = []
    for name in (name for name in names if name not in ORGANS):
        like = resembled(name)
        meant = f" Did you mean '{like[0]}'?" if like else ""
        doubts.append(f"organ '{name}' is new to this package: every site must write this name alike.{meant}")
    return doubts


def _meaning(name: str) -> tuple[str, ...]:
    """Return the words of a name without fillers, in one spelling and one order."""
    words = [SPELLINGS.get(word, word) for word in name.split("_")]
    return tuple(sorted(word for word in words if word not in FILLERS))


def _agreement(first: tuple[str, ...], second: tuple[str, ...]) -> float:
    """Return how alike the least alike words of two names are, 0 to 1.

    Words of three letters and words with digits are no slips of each other.
    """
    ours, theirs = (
        sorted((Counter(one) - Counter(other)).elements()) for one, other in ((first, second), (second, first))
    )
    if len(ours) != len(theirs):
        return 0.0
    pairs = list(zip(ours, theirs, strict=True))
    if any(len(word) < SHORTEST_SLIP or not word.isalpha() for pair in pairs for word in pair):
        return 0.0
    return min((difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs), default=1.0)
