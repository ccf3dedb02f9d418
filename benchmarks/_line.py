"""A slow line between two networks; the arguments are PORT NUMBER MILLISECONDS MBIT LOSS CONGESTION.

The process makes a network of its own with one line out of it, and carries each packet of that line itself: so late,
so slowly and with such a loss as it was told. At both ends are the kernel's own TCP and a TUN device. ``tc netem`` does
the same inside the kernel, but not every kernel has it. In its network the server is found at localhost, as at the
other end. The process prints a line when all is ready, and ends with its standard input.
"""

import asyncio
import ctypes
import fcntl
import functools
import os
import random
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fedgin.processes import watch_starter

ResultT = TypeVar("ResultT")

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
LARGEST_PACKET = 2048
# As tc's netem has it.
QUEUED = 1000
CHUNK = 65536
# Of a line's end at the server, in a network that nobody else uses.
PORT = 7700


def new_network() -> None:
    """Give this thread, and what it starts from now on, a network of its own, with nothing but a loopback.

    Raises:
        OSError: the kernel does not let this user do so.
    """
    _check(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def inside(process: int, step: Callable[[], ResultT]) -> ResultT:
    """Do something in the network of another process, in a thread of its own, and return its result."""
    found: list[ResultT] = []

    def work() -> None:
        with open(f"/proc/{process}/ns/net") as network:
            _check(ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET))
        found.append(step())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [result] = found
    return result


def _check(answer: int) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@dataclass
class Way:
    """One direction of a line.

    Attributes:
        give: takes a packet at its end.
        delay: seconds.
        rate: bytes a second.
        loss: share of the packets, 0 to 1.
        draws: says which.
        waiting: packets on their way, with the time at which they arrive.
        free: the time from which the next packet is sent.
    """

    give: Callable[[bytes], object]
    delay: float
    rate: float
    loss: float
    draws: random.Random
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    free: float = 0.0

    def take(self, packet: bytes, now: float) -> None:
        """Take a packet; it is lost by chance, or where too many wait."""
        if self.draws.random() < self.loss or len(self.waiting) >= QUEUED:
            return
        self.free = max(now, self.free) + len(packet) / self.rate
        self.waiting.append((self.free + self.delay, packet))

    def hand_over(self, now: float) -> float | None:
        """Give what has arrived; return the time of the next packet, if there is one."""
        while self.waiting and self.waiting[0][0] <= now:
            self.give(self.waiting.popleft()[1])
        return self.waiting[0][0] if self.waiting else None


def _open_device(name: str, address: str, congestion: str) -> int:
    """Make a TUN device in the network of this process, and return the file of its packets."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    network = f"{address.rpartition('.')[0]}.0/30"
    for command in (
        f"addr add {address}/30 dev {name} noprefixroute",
        f"link set {name} up",
        f"route add {network} dev {name} src {address} congctl {congestion}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    return device


class _Carrier:
    """Carries packets from one device to the other."""

    def __init__(self, source: int, way: Way) -> None:
        self.source, self.way = source, way
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.loop.add_reader(source, self._read)

    def _read(self) -> None:
        try:
            while True:
                self.way.take(os.read(self.source, LARGEST_PACKET), self.loop.time())
        except BlockingIOError:
            self._hand_over()

    def _hand_over(self) -> None:
        following = self.way.hand_over(self.loop.time())
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if following is None else self.loop.call_at(following, self._hand_over)


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        target.write(data)
        await target.drain()
    target.close()


async def _forward(here: tuple[str, int], there: tuple[str, int]) -> None:
    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_connection(*there)
        await asyncio.gather(_carry(reader, on), _carry(back, writer), return_exceptions=True)

    async with await asyncio.start_server(join, *here):
        await asyncio.Event().wait()


async def _serve(devices: Sequence[int], ways: Sequence[Way], here: tuple[str, int], there: tuple[str, int]) -> None:
    carriers = [_Carrier(device, way) for device, way in zip(devices, ways, strict=True)]
    print(f"{len(carriers)} ways of {there[0]} are open", flush=True)
    await _forward(here, there)


def addresses(number: int) -> tuple[str, str]:
    """Return the addresses of a line's ends, the server's first."""
    return f"10.77.{number}.1", f"10.77.{number}.2"


def main() -> None:
    """Carry packets until standard input ends."""
    port, number, congestion = int(sys.argv[1]), int(sys.argv[2]), sys.argv[6]
    milliseconds, mbit, loss = (float(text) for text in sys.argv[3:6])
    here, there = addresses(number)
    devices = [_open_device(f"line{number}", here, congestion)]
    # FLARE's server listens at localhost only. This thread stays in the network of the server.
    forward = _forward((here, PORT), ("127.0.0.1", port))
    threading.Thread(target=asyncio.run, args=(forward,), daemon=True).start()
    new_network()
    devices.append(_open_device("line", there, congestion))
    watch_starter(lambda: os._exit(0))
    delay, rate, draws = milliseconds / 2e3, mbit * 1e6 / 8, random.Random(number)
    ways = [Way(functools.partial(os.write, end), delay, rate, loss, draws) for end in reversed(devices)]
    asyncio.run(_serve(devices, ways, ("127.0.0.1", port), (here, PORT)))


if __name__ == "__main__":
    main()
