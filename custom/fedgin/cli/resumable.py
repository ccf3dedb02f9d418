"""What Ctrl-C and the end of a session do to a verb that can be continued."""

import contextlib
import signal
from collections.abc import Iterator

import typer
from rich.console import Console


@contextlib.contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Turn SIGINT (Ctrl-C) and SIGTERM into one line and exit code 130, so that everything that was started ends too.

    SIGINT is set as well because a shell lets its background processes ignore it.
    """
    before = {sign: signal.signal(sign, signal.default_int_handler) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. Start the same command again to continue.")
        raise typer.Exit(130) from None
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
