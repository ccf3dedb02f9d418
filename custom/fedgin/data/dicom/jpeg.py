"""JPEG of 12 bits and lossless JPEG for pydicom's decoders, which have none as installed.

The pixels are libjpeg-turbo's, by way of imagecodecs. Like other JPEG libraries it fills what is missing of a stream
that was cut off and says nothing, so that the end of the stream is looked for here.
"""

import imagecodecs
import numpy as np
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

PLUGIN = "imagecodecs"
SYNTAXES = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
# pydicom asks a plugin for this table.
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs",))
_END_OF_IMAGE = b"\xff\xd9"
# Writers fill up to an even length with either.
_PADDING = b"\x00\xff"


def is_available(uid: str) -> bool:
    """Tell pydicom whether this plugin decodes a transfer syntax."""
    return uid in SYNTAXES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame for pydicom.

    Args:
        source: the JPEG stream.
        runner: what the header says of the image.

    Returns:
        The stored values in the allocated number of bits, little endian.

    Raises:
        ValueError: the stream was cut off, or its size is not that of the header.
    """
    if not source.rstrip(_PADDING).endswith(_END_OF_IMAGE):
        raise ValueError("the JPEG stream has no end")
    values = np.asarray(imagecodecs.jpeg8_decode(source))
    if values.shape[:2] != (runner.rows, runner.columns):
        raise ValueError("the JPEG stream has another size than the header")
    return values.astype(f"<u{runner.bits_allocated // 8}").tobytes()


def install() -> None:
    """Add this plugin to pydicom's decoders; once in a process."""
    for syntax in SYNTAXES:
        get_decoder(syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
