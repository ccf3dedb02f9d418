"""Messages between two of our processes: a line of JSON, then tensors as safetensors. Nothing of it can hold code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: what it is about.
        values: numbers, strings and containers of them.
        tensors: the tensors by name.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Send a message whole.

    Raises:
        OSError: the other process has ended.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in message.tensors.items()}
    payload = safetensors.torch.save(tensors) if tensors else b""
    head = json.dumps({"kind": message.kind, "values": dict(message.values), "payload": len(payload)})
    stream.write(head.encode("utf-8") + b"\n")
    stream.write(payload)
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
    return Message(values["kind"], values["values"], safetensors.torch.load(payload) if payload else {})
