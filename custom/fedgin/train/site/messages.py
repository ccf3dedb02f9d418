"""Messages between two of our processes: a line of JSON, then arrays as safetensors. Nothing of it can hold code.

FLARE's process of a job sends and reads them, too, and does not load PyTorch for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from fedgin.errors import FedginError


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: what it is about.
        values: numbers, strings and containers of them.
        arrays: the arrays by name.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def error_message(error: FedginError) -> Message:
    """Return what tells the other process of an error."""
    return Message("error", {"problem": error.problem, "fix": error.fix, "code": error.code})


def told_error(message: Message) -> FedginError:
    """Return the error that a message of the kind ``error`` tells of."""
    error = FedginError(message.values["problem"], message.values["fix"])
    error.code = message.values["code"]
    return error


def pack_message(message: Message) -> tuple[bytes, bytes]:
    """Return a message as it is sent: its line, and its arrays."""
    arrays = {name: np.asarray(value, order="C") for name, value in message.arrays.items()}
    payload = safetensors.numpy.save(arrays) if arrays else b""
    head = json.dumps({"kind": message.kind, "values": dict(message.values), "payload": len(payload)})
    return head.encode("utf-8") + b"\n", payload


def write_message(stream: BinaryIO, message: Message) -> None:
    """Send a message whole.

    Raises:
        OSError: the other process has ended.
    """
    stream.writelines(pack_message(message))
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Wait for a message; ``None`` when the other process has ended, also in the middle of one."""
    head = stream.readline()
    if not head.endswith(b"\n"):
        return None
    values = json.loads(head)
    payload = stream.read(values["payload"])
    if len(payload) < values["payload"]:
        return None
    return Message(values["kind"], values["values"], safetensors.numpy.load(payload) if payload else {})
