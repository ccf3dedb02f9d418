"""Where the pixel data of a file are and how they are stored; decode them from there without parsing a header twice."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import _get_jpg_parameters, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from fedgin.data.dicom import jpeg

jpeg.install()
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED_LENGTH = 0xFFFFFFFF
# As implicit lengths these bytes would be odd numbers, which DICOM does not allow.
_VALUE_TYPES = (b"OB\x00\x00", b"OW\x00\x00", b"UN\x00\x00")
# How a deflated file states its syntax: tag, type, length and UID; and the element before which only 132 bytes are.
_DEFLATED = b"\x02\x00\x10\x00UI\x16\x00" + DeflatedExplicitVRLittleEndian.encode()
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_META_START, _META_MOST = 132, 2048
# Bytes: a volume of 512 slices of 1024 x 1024.
LARGEST_INFLATED = 2**30
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
# What stores words as they are; other streams hold values, and say themselves of how many bits.
_WORDS = (*_NATIVE, RLELossless)
_JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """What the file itself says at the pixel data element.

    Attributes:
        start: byte where the value starts; ``None`` when there is none or it cannot be addressed.
        length: bytes of the value; ``None`` when compressed, that is without a stated length.
        value_type: value representation, ``OB`` or ``OW``; empty in implicit VR.
    """

    start: int | None = None
    length: int | None = None
    value_type: str = ""


def check_inflated(file: BinaryIO) -> None:
    """Look how large a deflated file is, in bounded memory: pydicom inflates it whole, by up to 1000 times.

    Raises:
        Exception: it is more than :data:`LARGEST_INFLATED`, or damaged.
    """
    file.seek(_META_START)
    meta = file.read(_META_MOST)
    if _DEFLATED not in meta:
        return
    if not meta.startswith(_GROUP_LENGTH):
        raise ValueError("no length of the file meta information")
    file.seek(_META_START + 12 + int.from_bytes(meta[8:12], "little"))
    inflater, size, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, b""
    while chunk := inflater.unconsumed_tail or file.read(2**20):
        size += len(inflater.decompress(chunk, 2**20))
        if size > LARGEST_INFLATED:
            raise ValueError("larger than any image")


def find_pixels(file: BinaryIO, dataset: pydicom.Dataset) -> PixelPlace:
    """Look at the element before which pydicom stopped; it leaves the file there, except in a deflated file.

    The value type is taken from the bytes, never from the transfer syntax: old exports state none or a wrong one.
    """
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return PixelPlace()
    order = "<" if dataset.original_encoding[1] else ">"
    if file.read(4) != struct.pack(f"{order}HH", *_PIXEL_DATA):
        return PixelPlace()
    value_type = file.read(4)
    if value_type not in _VALUE_TYPES:
        file.seek(-4, 1)
        value_type = b""
    (length,) = struct.unpack(f"{order}L", file.read(4))
    return PixelPlace(file.tell(), None if length == _UNDEFINED_LENGTH else length, value_type[:2].decode())


def transfer_syntax(dataset: pydicom.Dataset, place: PixelPlace) -> str:
    """Return the syntax that a file states, or the one in which it was found to be; empty for unknown compression."""
    stated = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if place.start is not None and place.length is None and (not stated or stated in _NATIVE):
        return ""
    if stated:
        return str(stated)
    implicit, little = dataset.original_encoding
    if not little:
        return str(ExplicitVRBigEndian)
    explicit = bool(place.value_type) or not implicit
    return str(ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian)


def has_decoder(syntax: str) -> bool:
    """Tell whether pixels of this transfer syntax can be decoded here."""
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def bits_below(dataset: pydicom.Dataset, syntax: str) -> int:
    """Return how many bits of a stored word lie below those of the value (DICOM PS3.5, 8.1.1).

    None do in a stream that says its own bits, and in a word that the value fills, whatever a stale header says.
    """
    stored, high, allocated = (dataset.get(keyword) for keyword in ("BitsStored", "HighBit", "BitsAllocated"))
    if syntax not in _WORDS or stored is None or high is None:
        return 0
    below = int(high) + 1 - int(stored)
    return 0 if below < 0 and stored == allocated else below


def is_in_word(options: dict[str, Any], shift: int) -> bool:
    """Tell whether the bits of a value are where they can be.

    Args:
        options: image pixel elements; the bits below a value count as stored.
        shift: number of bits below a value, from :func:`bits_below`.
    """
    return shift == 0 or (shift > 0 and options["bits_stored"] <= options["bits_allocated"])


def decode(
    path: Path, place: PixelPlace, syntax: str, options: dict[str, Any], frame: int | None = None
) -> NDArray[Any]:
    """Return the stored words [rows, columns] of one frame, without what is above the highest bit of a value.

    Args:
        path: the file.
        place: the place from :func:`find_pixels`.
        syntax: the syntax from :func:`transfer_syntax`.
        options: image pixel elements as pydicom names them.
        frame: which one of a multi-frame file, from 0.

    Raises:
        Exception: of many kinds; all mean that these pixels cannot be had.
    """
    if place.start is None:
        dataset = pydicom.dcmread(path, force=True)
        dataset.file_meta.TransferSyntaxUID, dataset.BitsStored = UID(syntax), options["bits_stored"]
        return dataset.pixel_array if frame is None else pixel_array(dataset, index=frame)
    if place.length is not None and place.length < _native_bytes(options):
        raise ValueError("less pixel data than the image needs")  # what follows would be taken for pixels
    stored = {**options, "pixel_keyword": "PixelData", "pixel_vr": place.value_type}
    # Left to itself pydicom tries one decoder after the other, and another one may be content with half a stream.
    plugin = jpeg.PLUGIN if syntax in jpeg.SYNTAXES else ""
    with path.open("rb") as file:
        file.seek(place.start)
        if syntax in _JPEG:
            _check_stream(file, options, frame)
            file.seek(place.start)
        return get_decoder(syntax).as_array(file, index=frame, decoding_plugin=plugin, **stored)[0]


def _check_stream(file: BinaryIO, options: dict[str, Any], frame: int | None) -> None:
    """Refuse a stream of another size than the header's: a decoder makes room for what the stream says."""
    stream = get_frame(file, frame or 0, number_of_frames=int(options["number_of_frames"]))
    stated = _get_jpg_parameters(stream)
    if stated and (stated["height"], stated["width"]) != (int(options["rows"]), int(options["columns"])):
        raise ValueError("the JPEG stream has another size than the header")


def _native_bytes(options: dict[str, Any]) -> int:
    bits = int(options["rows"]) * int(options["columns"]) * int(options["bits_allocated"])
    return bits * int(options.get("samples_per_pixel") or 1) * int(options["number_of_frames"]) // 8
