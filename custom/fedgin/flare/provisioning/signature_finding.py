"""What the checks before a start say of a kit's signature."""

from pathlib import Path

from nvflare.lighter.constants import ProvFileName

from fedgin.data.validation.findings import Finding, fail, passed, warn
from fedgin.flare.provisioning.signature import FIX, SignatureError, changed_files

CHECK = "kit_signature"


def examine_signature(startup: Path) -> list[Finding]:
    """Name the files that are not as they were signed.

    Args:
        startup: the kit's ``startup`` folder.
    """
    try:
        if not (startup / ProvFileName.SIGNATURE_JSON).is_file():
            fix = "a kit of 'nvflare package' has none; one of 'fedgin provision' has: unpack it again"
            return [warn(CHECK, "the kit has no signature: nobody would notice a changed file", fix)]
        wrong = changed_files(startup)
        files = len(list(startup.iterdir())) - 1
    except SignatureError as error:
        return [fail(CHECK, error.problem, error.fix)]
    except OSError:
        return [fail(CHECK, "the kit's signature or root certificate cannot be read", FIX)]
    if wrong:
        return [fail(CHECK, f"not as signed: {', '.join(wrong)}; FLARE will not start from it", FIX)]
    return [passed(CHECK, f"all {files} files are as they were signed")]
