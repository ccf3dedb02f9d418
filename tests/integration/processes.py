"""The processes of a folder."""

from pathlib import Path

import psutil


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work inside the folder, or have a path inside it in their command."""
    running = psutil.process_iter(["cmdline", "cwd"])
    words = {process: [*(process.info["cmdline"] or []), process.info["cwd"] or ""] for process in running}
    return [process for process in words if any(str(folder) in word for word in words[process])]
