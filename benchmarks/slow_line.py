"""Seconds of a round when each site has a slow line to the server, beside what the line allows.

    sudo .venv/bin/python -m benchmarks.slow_line

Three provisioned sites, each in a network of its own behind a line with delay, a rate and losses in both directions
(:mod:`benchmarks._line`); the machine's own network is not touched. At each site a stand-in answers for the training
process, at once (:mod:`benchmarks._stand_in`), so that a round is transfer and FLARE's and our work. The same bytes go
through the same lines over plain TCP, too. The first round, and TCP's first transfer, are left out. It needs Linux with
nsenter and ip, and the right to make networks: root, or ``unshare --user --map-root-user`` in front where /dev/net/tun
is open to all.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import _stand_in, _unchecked
from benchmarks._instead import CHECK, TRAINER, instead
from benchmarks._line import addresses, inside, new_network
from benchmarks._rounds import CHANNELS, block_sites, count_weights, run_rounds, stage_blocks
from fedgin.flare.jobs.job import Job
from poc.federation import LocalFederation, free_port, provision, running

SITES = ("ct-a", "ct-b", "mr-a")
BYTES = {"float32": 4, "float16": 2}
CHUNK = 65536
Line = subprocess.Popen[bytes]


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each run.")] = 4,
    milliseconds: Annotated[float, typer.Option(help="To the server and back.")] = 50.0,
    mbit: Annotated[float, typer.Option(help="Mbit/s in each direction.")] = 20.0,
    loss: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of packets lost in each direction.")] = 0.01,
    congestion: Annotated[str, typer.Option(help="TCP's congestion control.")] = "cubic",
    weights: Annotated[int, typer.Option(help=f"Millions of weights: {', '.join(map(str, CHANNELS))}.")] = 2,
) -> None:
    """Measure float32 and float16 and print a table.

    Example: sudo .venv/bin/python -m benchmarks.slow_line --loss 0
    """
    try:
        new_network()
    except OSError as error:
        raise SystemExit(f"no network of its own ({error.strerror}): start it as root") from None
    os.environ |= instead({TRAINER: _stand_in, CHECK: _unchecked})
    port = free_port()
    told = [str(value) for value in (milliseconds, mbit, loss)]
    table = Table("update", "MB to / from a site", "payload / bandwidth", "plain TCP", "round", "/ bandwidth", "/ TCP")
    lines = [_open_line(port, number, [*told, congestion]) for number in range(len(SITES))]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            federation = provision(block_sites(folder, SITES), folder / "federation", port=port)
            federation.within = {name: _enter(line) for name, line in zip(SITES, lines, strict=True)}
            with running(federation, list(SITES)):
                for transfer in BYTES:
                    job = _stage(folder / "job", CHANNELS[weights], transfer, rounds)
                    table.add_row(transfer, *_measure(federation, job, lines, mbit))
    finally:
        for line in lines:
            line.communicate()
    table.caption = f"{milliseconds:g} ms, {mbit:g} Mbit/s, {loss:.1%} loss, TCP's congestion control {congestion}"
    Console().print(table)


def _open_line(port: int, number: int, told: Sequence[str]) -> Line:
    command = [sys.executable, "-m", "benchmarks._line", str(port), str(number), *told]
    line = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert line.stdout is not None
    if not line.stdout.readline():
        raise SystemExit("a line was not opened: see above")
    return line


def _enter(line: Line) -> list[str]:
    return ["nsenter", f"--net=/proc/{line.pid}/ns/net"]


def _stage(target: Path, channels: Sequence[int], transfer: str, rounds: int) -> Job:
    federation = {"transfer": transfer}
    return stage_blocks("abdomen_fedgin", target, channels, sites=len(SITES), rounds=rounds + 1, federation=federation)


def _measure(federation: LocalFederation, job: Job, lines: Sequence[Line], mbit: float) -> list[str]:
    weights, transfer = count_weights(job), job.experiment.federation.transfer
    down, up = 4 * weights, BYTES[transfer] * weights
    seconds = run_rounds(federation, job, at_start=lambda: None, at_end=lambda: None)
    in_flare = statistics.mean(seconds[1:])
    with ThreadPoolExecutor(len(lines)) as pool:
        found = pool.map(lambda at: _plain_transfers(lines[at], at, (down, up), len(seconds)), range(len(lines)))
    # A round waits for its slowest site.
    plain = statistics.mean([max(times) for times in zip(*found, strict=True)][1:])
    least = least_seconds(down, up, mbit)
    print(f"{transfer}: rounds {seconds}, plain TCP {plain:.2f} s", flush=True)
    times = [f"{value:.1f} s" for value in (least, plain, in_flare)]
    return [f"{down / 1e6:.1f} / {up / 1e6:.1f}", *times, f"{in_flare / least:.2f}", f"{in_flare / plain:.2f}"]


def least_seconds(down: int, up: int, mbit: float) -> float:
    """Return the seconds of so many bytes to a site and then so many back, without delay, loss or header."""
    return (down + up) * 8 / (mbit * 1e6)


def _plain_transfers(line: Line, number: int, sizes: tuple[int, int], times: int) -> list[float]:
    """Send bytes through a line and have others back, over one connection; return the seconds of each time."""
    down, up = sizes
    with socket.create_server((addresses(number)[0], 0)) as listener:
        there = inside(line.pid, lambda: socket.create_connection(listener.getsockname()))
        here, _ = listener.accept()
        with here, there, ThreadPoolExecutor(1) as site:
            seconds = []
            for _ in range(times):
                started = time.monotonic()
                answer = site.submit(_answer, there, down, up)
                here.sendall(bytes(down))
                _receive(here, up)
                seconds.append(time.monotonic() - started)
                answer.result()
    return seconds


def _answer(connection: socket.socket, down: int, up: int) -> None:
    _receive(connection, down)
    connection.sendall(bytes(up))


def _receive(connection: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(connection.recv(min(size, CHUNK)))


if __name__ == "__main__":
    typer.run(main)
