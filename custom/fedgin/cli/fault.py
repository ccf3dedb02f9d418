"""How a foreseen error looks: two lines on standard error and exit code 2, in every command and script."""

import contextlib
import sys
from collections.abc import Iterator

from fedgin.errors import FedginError


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Print a :class:`FedginError` and end the process with code 2; Ctrl-C becomes one line and code 130."""
    try:
        yield
    except FedginError as error:
        _print(f"[bold red]Error {error.code}:[/] {_plain(error.problem)}", f"[bold]Fix:[/] {_plain(error.fix)}")
        sys.exit(2)
    except KeyboardInterrupt:
        _print("Stopped.")
        sys.exit(130)


def _print(*lines: str) -> None:
    from rich.console import Console

    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    for line in lines:
        errors.print(line)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
