"""Whether FLARE can run jobs from a kit, by the path at which the kit lies."""

import shlex
from pathlib import Path

from fedgin.errors import ConfigError


def check_kit_path(kit: Path) -> None:
    """Refuse a path from which a site connects, and then every job ends ``FINISHED:ABNORMAL`` without a reason.

    FLARE writes the path unquoted into the command of each job's process and takes the command apart again.

    Args:
        kit: the unpacked kit, FLARE's workspace.

    Raises:
        ConfigError: the path holds white space, a quote, a backslash or '#'.
    """
    path = str(kit.resolve())
    try:
        safe = shlex.split(path, comments=True) == [path]
    except ValueError:  # a quote without its other half
        safe = False
    if not safe:
        raise ConfigError(
            "FLARE can start no job from the path of this kit: it holds a space, a quote, a backslash or '#'",
            "move it to a path without them",
        )
