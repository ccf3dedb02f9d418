"""The processes of a folder."""

from pathlib import Path

import psutil


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes with a path inside the folder in their command."""
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if any(str(folder) in word for word in process.info["cmdline"] or [])]
