"""A job as a console sends it: FLARE's own zip of a folder."""

from pathlib import Path

from nvflare.fuel.utils.zip_utils import zip_directory_to_bytes


def archive_of(job: Path) -> bytes:
    """Pack a job folder as FLARE's console does."""
    content: bytes = zip_directory_to_bytes(str(job.parent), job.name)
    return content
