"""Start FLARE from a kit that is as it was signed; the scripts of our kits start it this way.

    python3 -m fedgin.flare.provisioning.signed_start STARTUP [MODULE ARGUMENT ...]

FLARE itself checks the settings, keys and certificates that it reads, but neither scripts nor additional files. Without
a module it only says whether the start would be refused: one line on standard error and exit code 2.
"""

import sys
from pathlib import Path

from fedgin.errors import FedginError
from fedgin.flare.process import become
from fedgin.flare.provisioning.signature import check_signature

REFUSED = 2


def main(startup: Path, command: list[str]) -> None:
    """Check the kit's ``startup`` folder and become the module, or end with code 2 and one line."""
    try:
        check_signature(startup)
    except FedginError as error:
        print(f"fedgin: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    if command:
        become(command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
