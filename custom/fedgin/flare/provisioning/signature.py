"""The signature of a kit's ``startup`` folder, checked as FLARE checks what it reads of it.

FLARE signs each file, but not which there are: whoever takes one away can take its line out of ``signature.json``, too.
So the signed ``fedgin.json`` of a server's or a site's kit names them; without that file the kit runs no job.
"""

from pathlib import Path

from nvflare.fuel.sec.security_content_service import LoadResult, SecurityContentManager
from nvflare.lighter.constants import ProvFileName

from fedgin.errors import FedginError
from fedgin.manifest import read_file_names

ROOT = "rootCA.pem"
FIX = "unpack the kit again as it was sent, without editing it"
READABLE = "let the user who runs the kit own all of it, as with chown -R"


class SignatureError(FedginError):
    """A kit is not as it was signed; FLARE is not started from it."""

    code = "FG-063"


def check_signature(startup: Path) -> None:
    """Refuse a kit of which a file was changed, added or taken away after the root's key signed it.

    Args:
        startup: the kit's ``startup`` folder, which may be a link, as where kit and workspace are two folders.

    Raises:
        SignatureError: it is not as it was signed.
    """
    signature = ProvFileName.SIGNATURE_JSON
    wrong = changed_files(startup) if (startup / signature).is_file() else [signature]
    if wrong:
        raise SignatureError(f"startup/ was changed after it was signed: {', '.join(wrong)}", FIX)


def changed_files(startup: Path) -> list[str]:
    """Name the files that are not as they were signed, in a folder with a signature.

    Raises:
        SignatureError: a file may not be read by this user; or the signature or the root's certificate is damaged.
    """
    try:
        manager = SecurityContentManager(str(startup))
        if not manager.valid_config:  # then nothing is known of the others
            return [ROOT]
        there = {path.name for path in startup.iterdir()}
        names = {*manager.signature, *there, *read_file_names(startup)} - {ProvFileName.SIGNATURE_JSON}
        return [name for name in sorted(names) if not _as_signed(startup / name, manager)]
    except OSError as error:  # such as a key that is still root's, who unpacked the kit
        unread = Path(error.filename or startup).name
        raise SignatureError(f"{unread} cannot be read ({error.strerror})", READABLE) from None
    except (ValueError, TypeError, AttributeError):
        raise SignatureError("the kit's signature or root certificate cannot be read", FIX) from None


def _as_signed(path: Path, manager: SecurityContentManager) -> bool:
    """Tell of a file whether it is; a folder, a link or a pipe is not, for none is signed, and a pipe has no end."""
    plain = path.is_file() and not path.is_symlink()
    return plain and manager.load_content(path.name)[1] is LoadResult.OK
