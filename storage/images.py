"""Pictures as bytes: PNG in and out, with text inside.

Enters: arrays. Leaves: PNG bytes that are equal whenever the arrays and texts are: no time, host or run goes in.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class UnreadablePicture(ValueError):
    """Bytes that are not a PNG picture."""


def to_png(picture: NDArray[np.generic], text: Mapping[str, str] | None = None) -> bytes:
    """Return PNG bytes of an (H, W), (H, W, 3) RGB or (H, W, 4) RGBA array of uint8 or uint16, lossless.

    `text` goes in as iTXt chunks (UTF-8, uncompressed), in order of name.
    """
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3):
        raise ValueError(f"a picture is (H, W[, 3 or 4]) of uint8 or uint16, this is {picture.shape} of {picture.dtype}")
    if picture.ndim == 3:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[picture.shape[2]]
        picture = cv2.cvtColor(picture, order)
    done, buffer = cv2.imencode(".png", picture)
    if not done:
        raise ValueError(f"cv2 cannot write a picture of shape {picture.shape}")
    data = buffer.tobytes()
    if not text:
        return data
    # The chunks stand right behind IHDR (8 bytes signature, 25 bytes chunk), where every reader finds them.
    chunks = b"".join(_text_chunk(name, value) for name, value in sorted(text.items()))
    return data[:33] + chunks + data[33:]


def from_png(data: bytes) -> NDArray[Any]:
    """Return the array that `to_png` was given (RGB or RGBA order). Raises UnreadablePicture."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        # A header that promises more pixels than OpenCV takes on.
        decoded = None
    if decoded is None:
        raise UnreadablePicture("these bytes are not a PNG picture")
    picture: NDArray[np.generic] = decoded
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[picture.shape[2]])
    return picture


def png_text(data: bytes) -> dict[str, str]:
    """Return the iTXt texts inside PNG bytes. Raises UnreadablePicture."""
    if not data.startswith(_SIGNATURE):
        raise UnreadablePicture("these bytes are not a PNG picture")
    texts: dict[str, str] = {}
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"iTXt":
            name, rest = body.split(b"\0", 1)
            texts[name.decode("latin-1")] = rest[2:].split(b"\0", 2)[2].decode()
        if kind == b"IDAT":
            break
        at += 12 + length
    return texts


def _text_chunk(name: str, value: str) -> bytes:
    body = b"iTXt" + name.encode("latin-1") + b"\0\0\0\0\0" + value.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
