"""Start a module of this package as a process of its own, as a copy of the fork server's where there is one."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO, Protocol

from fedgin.fork_server import copy
from fedgin.processes import ERROR, same_packages

NOTHING: Mapping[str, str] = MappingProxyType({})


class Child(Protocol):
    """What is needed of :class:`subprocess.Popen`; the process leads a group of its own."""

    @property
    def pid(self) -> int: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102
    def send_signal(self, sign: int, /) -> None: ...  # noqa: D102
    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102


def launch(
    module: str, arguments: Sequence[object] = (), *, error: int = ERROR, variables: Mapping[str, str] = NOTHING
) -> tuple[Child, BinaryIO, BinaryIO]:
    """Run a module; return the process with its standard input and output.

    Ctrl-C in the terminal reaches the caller alone, which knows what becomes of the process.

    Args:
        module: its dotted name; it has a ``main()``.
        arguments: of the command line.
        error: file descriptor of its standard error.
        variables: of its environment, beside those of this process.
    """
    words, environment = [str(argument) for argument in arguments], {**same_packages(), **variables}
    its_input, given = os.pipe()
    answers, its_output = os.pipe()
    standard = (its_input, its_output, error)
    child = copy(module, words, standard, environment) or subprocess.Popen(
        [sys.executable, "-P", "-m", module, *words],
        stdin=its_input,
        stdout=its_output,
        stderr=error,
        env=environment,
        start_new_session=True,
    )
    os.close(its_input)
    os.close(its_output)
    return child, os.fdopen(given, "wb"), os.fdopen(answers, "rb")


def ask(module: str, question: bytes, *, quiet: bool = False) -> tuple[bytes, int]:
    """Run a module that reads a question until its end, and then answers; return the answer and the exit code.

    Args:
        module: as :func:`launch`.
        question: its standard input.
        quiet: let nothing of its standard error be seen.
    """
    with open(os.devnull, "wb") as nowhere:
        child, given, answers = launch(module, error=nowhere.fileno() if quiet else ERROR)
    with given, answers:
        with contextlib.suppress(OSError):  # it has ended; its code says so
            given.write(question)
            given.close()
        answer = answers.read()
    return answer, child.wait()
