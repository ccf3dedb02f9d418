"""Messages between two of our processes: a line of JSON, then tensors as safetensors. Nothing of it can hold code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind: what it is about.
        values: numbers, strings and containers of them.
        tensors: by name.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send a message whole.

    Raises:
        OSError: the other process has ended.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in frame.tensors.items()}
    payload = safetensors.torch.save(tensors) if tensors else b""
    head = json.dumps({"kind": frame.kind, "values": dict(frame.values), "payload": len(payload)})
    stream.write(head.encode("utf-8") + b"\n")
    stream.write(payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """Wait for a message; ``None`` when the other process has ended, also in the middle of one."""
    head = stream.readline()
    if not head.endswith(b"\n"):
        return None
    values = json.loads(head)
    payload = stream.read(values["payload"])
    if len(payload) < values["payload"]:
        return None
    return Frame(values["kind"], values["values"], safetensors.torch.load(payload) if payload else {})
