"""The signature of a kit's ``startup`` folder, checked as FLARE checks it at the start."""

from pathlib import Path

from nvflare.fuel.sec.security_content_service import LoadResult, SecurityContentManager
from nvflare.lighter.constants import ProvFileName

from fedgin.data.validation.findings import Finding, fail, passed, warn

FIX = "unpack the kit again as it was sent, without editing it"


def check_signature(startup: Path) -> list[Finding]:
    """Name the files that are not as they were signed.

    Args:
        startup: the kit's ``startup`` folder.
    """
    try:
        if not (startup / ProvFileName.SIGNATURE_JSON).is_file():
            fix = "a kit of 'nvflare package' has none; one of 'fedgin provision' has: unpack it again"
            return [warn("kit_signature", "the kit has no signature: nobody would notice a changed file", fix)]
        manager = SecurityContentManager(str(startup))
        names = {*manager.signature, *(path.name for path in startup.iterdir())} - {ProvFileName.SIGNATURE_JSON}
        wrong = [name for name in sorted(names) if manager.load_content(name)[1] is not LoadResult.OK]
    except (OSError, ValueError, TypeError, AttributeError):
        return [fail("kit_signature", "the kit's signature or root certificate cannot be read", FIX)]
    if wrong:
        return [fail("kit_signature", f"not as signed: {', '.join(wrong)}; FLARE will not start from it", FIX)]
    return [passed("kit_signature", f"all {len(names)} files are as they were signed")]
