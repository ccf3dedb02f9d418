import io
import os
import signal

import pytest
import typer
from rich.console import Console

from fedgin.cli.interrupt import interruptible


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_in_order_and_says_how_to_go_on(sign: signal.Signals) -> None:
    # As a shell leaves it for a process in the background.
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in (signal.SIGINT, signal.SIGTERM)}
    text, ended = io.StringIO(), []

    def work() -> None:
        with interruptible(Console(file=text)):
            try:
                os.kill(os.getpid(), sign)
            finally:
                ended.append(sign)

    try:
        with pytest.raises(typer.Exit) as left:
            work()
        assert signal.getsignal(sign) is signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert left.value.exit_code == 130
    assert ended == [sign]
    assert "Start the same command again" in text.getvalue()
