"""Walk a folder that somebody else made: what links to folders lead to is part of it, and comes once."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """A folder at or below another one.

    Attributes:
        path: begins with that of the other one, and may lead over links.
        names: of its files, and of links that lead to no folder.
        linked: whether a link leads to it, or to one above it.
    """

    path: Path
    names: list[str]
    linked: bool


def walk_folders(
    source: Path,
    *,
    passes_over: Callable[[Path], bool] = lambda path: False,
    on_left_out: Callable[[Path], None] = lambda path: None,
) -> Iterator[Folder]:
    """Yield a folder and those below it, each once, whatever leads there.

    What visible links lead to comes last, and only where it is not among the others already. A link to a folder around
    ``source``, or around the link itself, is not followed: it may lead to the whole disk.

    Args:
        source: the folder.
        passes_over: whether a folder below it, and so all in it, does not count.
        on_left_out: gets each folder that may not be listed, and each visible link to a folder around it that is not
            followed.
    """
    home = Path(os.path.realpath(source))
    tops, seen = [source], set[str]()
    for top in tops:
        for place, below, names in os.walk(top, onerror=lambda error: on_left_out(Path(os.fsdecode(error.filename)))):
            real = os.path.realpath(place)
            below[:] = [name for name in below if real not in seen and not passes_over(Path(place, name))]
            if real not in seen:
                yield Folder(Path(place), names, linked=top is not source)
            seen.add(real)
            for link in (Path(place, name) for name in below if os.path.islink(os.path.join(place, name))):
                target = os.path.realpath(link)
                if target in seen or is_hidden(link, source):
                    continue
                if home.is_relative_to(target) or Path(real).is_relative_to(target):
                    on_left_out(link)
                else:
                    tops.append(link)


def is_hidden(path: Path, source: Path) -> bool:
    """Tell whether it is not the user's: a desktop's waste basket, or the store of a version control."""
    return any(part[0] == "." for part in path.relative_to(source).parts)
