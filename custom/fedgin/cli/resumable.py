"""What Ctrl-C does to a verb that can be continued."""

import contextlib
from collections.abc import Iterator

import typer
from rich.console import Console


@contextlib.contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Turn Ctrl-C into one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. Start the same command again to continue.")
        raise typer.Exit(130) from None
