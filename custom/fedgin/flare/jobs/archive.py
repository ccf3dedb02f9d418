"""The archive in which a console sends a job and the server keeps it: FLARE's own zip of a job folder, to the byte.

FLARE's server stores the archive as it came and unpacks it at deployment, where only the application is looked at. What
lies beside it stays a file at the server, with a path that a job knows.
"""

import io
import re
import stat
import struct
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from fedgin.errors import ConfigError, FedginError
from fedgin.flare.jobs.files import WEIGHTS, is_part, stray
from fedgin.flare.jobs.job import Job, load_job, staged_mark
from fedgin.folders import MARK

# A resumed job has its checkpoint in it, and one that evaluates a model that model; nothing else of a job is large.
LARGEST_FILE = 2**18
LARGEST_WEIGHTS = 2**32 - 1
LOCAL_HEADER, TABLE_ENTRY, TABLE_END = 30, 46, 22
FOLDER_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
FIX = "submit a job folder with 'fedgin run' or with 'submit_job' of FLARE's console"


def check_archive(content: str | bytes, name: str) -> Job:
    """Check an archive whole; it is unpacked into a temporary folder, of which nothing stays.

    Args:
        content: the archive, or its path.
        name: of the job's folder, the only one in it.

    Returns:
        The job. Its folder is gone.

    Raises:
        FedginError: it is no job of this package; names the first fault.
    """
    with io.BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as file:
        try:
            with ZipFile(file) as archive, tempfile.TemporaryDirectory(prefix="fedgin-job-") as folder:
                _check_entries(archive, name)
                _check_gaps(archive, file)
                archive.extractall(folder)
                try:
                    return _load(Path(folder) / name)
                except FedginError as error:
                    raise error.below(Path(folder) / name) from None
        except (BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error):
            raise ConfigError("the job's archive is damaged", FIX) from None


def _load(folder: Path) -> Job:
    """Load the job; FLARE's ``submit_job`` also sends the mark of a folder that 'fedgin' staged."""
    job = load_job(folder)
    mark = folder / MARK
    if mark.exists() and mark.read_bytes() != staged_mark(job).encode():
        raise stray(MARK)
    return job


def _check_entries(archive: ZipFile, name: str) -> None:
    """Check names, kinds and sizes before anything is unpacked."""
    if not FOLDER_NAME.fullmatch(name):
        raise ConfigError("the job's folder has no plain name", "use letters, digits, '.', '_' and '-'")
    # The first that is wrong is named; the order of the archive is that of the disk which it came from.
    entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        inside = "/".join(parts[1:])
        kind = "folder" if entry.is_dir() else "file"
        written = f"{name}/{inside}{'/' * entry.is_dir()}"
        known = is_part(inside, kind) or (inside, kind) == (MARK, "file")
        if entry.filename != written or entry.orig_filename != written or not known:
            raise stray(entry.filename)
        if not _is_plain(entry) or entry.file_size > _largest(inside):
            raise ConfigError(f"the job's archive has '{inside}' as a link, packed, encrypted or too large", FIX)
    if len({entry.filename for entry in entries}) < len(entries):
        raise ConfigError("the job's archive has a file twice", FIX)


def _is_plain(entry: ZipInfo) -> bool:
    mode = entry.external_attr >> 16
    as_named = stat.S_ISDIR(mode) if entry.is_dir() else stat.S_ISREG(mode)
    bare = not (entry.extra or entry.comment or entry.flag_bits)
    return as_named and bare and entry.compress_type == ZIP_STORED and entry.file_size == entry.compress_size


def _largest(inside: str) -> int:
    return LARGEST_WEIGHTS if PurePosixPath(inside).name in WEIGHTS else LARGEST_FILE


def _check_gaps(archive: ZipFile, file: BinaryIO) -> None:
    """Check that every byte belongs to an entry or to the table of them: a file may be two kinds of file at once."""
    end = 0
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        file.seek(entry.header_offset + LOCAL_HEADER - 4)
        name, extra = struct.unpack("<HH", file.read(4))
        if entry.header_offset != end or extra:
            raise ConfigError("the job's archive holds bytes that belong to no file", FIX)
        end += LOCAL_HEADER + name + entry.compress_size
    table = sum(TABLE_ENTRY + len(entry.filename) for entry in archive.infolist()) + TABLE_END
    if (end, end + table) != (archive.start_dir, file.seek(0, io.SEEK_END)):
        raise ConfigError("the job's archive holds bytes that belong to no file", FIX)
