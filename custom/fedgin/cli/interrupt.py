"""What Ctrl-C and the end of a session do to a verb: one line, whatever it was doing."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import typer
from rich.console import Console

CONTINUE = "Start the same command again to continue."


@dataclass
class Interruption:
    """What an interrupted verb says.

    Attributes:
        advice: what holds now, and what to do; a verb changes it as it goes on.
    """

    advice: str


@contextlib.contextmanager
def interruptible(console: Console, advice: str = CONTINUE) -> Iterator[Interruption]:
    """Turn SIGINT (Ctrl-C) and SIGTERM into one line and exit code 130, so that everything that was started ends too.

    SIGINT is set as well because a shell lets its background processes ignore it.
    """
    stopped = Interruption(advice)
    before = {sign: signal.signal(sign, signal.default_int_handler) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    except KeyboardInterrupt:
        console.print(f"Stopped. {stopped.advice}")
        raise typer.Exit(130) from None
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
