"""What a verb prints: a table for people, JSON for programs."""

from enum import StrEnum


class Format(StrEnum):
    """What a verb writes to standard output."""

    TEXT = "text"
    JSON = "json"
