import io
import json

import numpy as np
import pytest

from fedgin.train.site.messages import Message, read_message, write_message


def sent(*messages: Message) -> bytes:
    stream = io.BytesIO()
    for message in messages:
        write_message(stream, message)
    return stream.getvalue()


def test_frames_arrive_as_they_were_sent() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array(7)}
    stream = io.BytesIO(sent(Message("train", {"number": 1, "share": 0.1}, arrays), Message("stop")))
    first, second = read_message(stream), read_message(stream)
    assert first is not None
    assert (first.kind, dict(first.values)) == ("train", {"number": 1, "share": 0.1})
    assert first.arrays.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(first.arrays[name], value, strict=True)
    assert second == Message("stop")
    assert read_message(stream) is None


@pytest.mark.parametrize("length", [0, 1, 30, -1])
def test_a_message_cut_off_by_a_crash_is_the_end(length: int) -> None:
    whole = sent(Message("done", {"loss": 1.0}, {"a": np.ones(100)}))
    assert read_message(io.BytesIO(whole[:length])) is None


def test_a_frame_is_json_and_safetensors() -> None:
    head, payload = sent(Message("done", {"loss": 1.0}, {"a": np.ones(2)})).split(b"\n", 1)
    assert json.loads(head) == {"kind": "done", "values": {"loss": 1.0}, "payload": len(payload)}
    size = int.from_bytes(payload[:8], "little")
    assert set(json.loads(payload[8 : 8 + size])) == {"a"}


def test_what_is_no_plain_data_is_not_sent() -> None:
    with pytest.raises(TypeError):
        sent(Message("done", {"loss": object()}))
