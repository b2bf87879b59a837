"""Pictures: what goes into a PNG comes out, and equal pictures are equal bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from storage.images import UnreadablePicture, from_png, png_text, to_png


@pytest.mark.parametrize(("shape", "kind"), [((5, 7), "uint8"), ((5, 7), "uint16"), ((5, 7, 3), "uint8"), ((5, 7, 4), "uint8")])
def test_a_picture_survives_and_other_readers_agree(shape: tuple[int, ...], kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    data = to_png(picture, {"dst": '{"prompt": "a café ☕"}'})
    assert np.array_equal(from_png(data), picture)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)
    assert png_text(data) == Image.open(io.BytesIO(data)).text == {"dst": '{"prompt": "a café ☕"}'}
    assert data == to_png(picture, {"dst": '{"prompt": "a café ☕"}'})


@pytest.mark.parametrize("data", [b"", b"not a picture", to_png(np.zeros((4, 4), np.uint8))[:20]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        from_png(data)
