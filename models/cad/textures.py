"""Converts textures of CAD files to ones that any GLB reader can show.

Enters: a file's bytes. Leaves: PNG or JPEG bytes of a sensible size that are known to decode, or the reason why not.
PNG and JPEG are passed on byte by byte.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.cad.references import References
from models.cad.source import Material, SourceModel, Texture, clean

MAX_PIXELS = 8192 * 8192
MAX_BYTES = 256 * 2**20
_CLEAR = 0.02
"""Less alpha than this is nothing."""
_NEARLY_CLEAR = 0.05
"""Texels of glass with less alpha than this are holes; the renderer's own threshold (models/render/blender.py)."""
_KEPT = {"PNG": "image/png", "JPEG": "image/jpeg"}
_READABLE = ("PNG", "JPEG", "BMP", "TGA", "GIF", "TIFF", "WEBP", "PPM", "DDS")


class BadTexture(ValueError):
    """An image that cannot be used; the message says why."""


def texture(data: bytes, opacity: bytes | None = None) -> Texture:
    """Return the texture that `data` holds, its alpha taken from the image `opacity` if given. Raises BadTexture.

    The header alone decides whether the pixels are decoded at all, so an image that claims gigapixels costs nothing.
    """
    from PIL import Image

    kind, image = _decode(data)
    if opacity is not None:
        _, mask = _decode(opacity)
        alpha = mask.getchannel("A") if "A" in mask.getbands() and mask.getextrema()[-1][0] < 255 else mask.convert("L")
        image = image.convert("RGB")
        image.putalpha(alpha.resize(image.size, Image.Resampling.BILINEAR))
        kind = "composed"
    if kind in _KEPT and image.mode in ("RGB", "RGBA", "L", "P", "LA", "1"):
        return Texture(data=data, mime=_KEPT[kind])
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey(np.asarray(image, dtype=np.float64), image.mode))
    out = io.BytesIO()
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    image.convert("RGBA" if has_alpha else "RGB").save(out, "PNG", compress_level=4)
    return Texture(data=out.getvalue(), mime="image/png")


def _grey(values: NDArray[np.float64], mode: str) -> NDArray[np.uint8]:
    """Return deep grey values as bytes. White is what the depth says, never the brightest value of the picture."""
    white = 65535.0
    if mode == "F":
        white = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
    elif values.max(initial=0.0) > white:
        white = float(2**32 - 1)
    return np.asarray(np.rint(np.clip(np.nan_to_num(values) / white, 0.0, 1.0) * 255.0), dtype=np.uint8)


@dataclass(frozen=True)
class _Alpha:
    """What a texture's alpha says."""

    top: float
    """The largest, 0 to 1."""
    holes: bool
    """Areas, not just single texels, are nearly clear."""
    glass: bool
    """Areas are neither clear nor opaque."""


def _alpha(data: bytes) -> _Alpha:
    from PIL import Image, ImageFilter

    _, image = _decode(data)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return _Alpha(1.0, False, False)
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))

    def areas(chosen: NDArray[np.bool_]) -> bool:
        # The soft border of a leaf is a texel or two wide, a window is not.
        mask = Image.fromarray(np.pad(chosen, 2, mode="edge").astype(np.uint8) * 255)
        return bool(np.asarray(mask.filter(ImageFilter.MinFilter(5)))[2:-2, 2:-2].any())

    return _Alpha(float(alpha.max()) / 255.0, areas(alpha < _CLEAR * 255), areas((alpha >= _CLEAR * 255) & (alpha < 128)))


def _decode(data: bytes):  # type: ignore[no-untyped-def]
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=_READABLE)
        if image.width * image.height > MAX_PIXELS:
            raise BadTexture(f"claims {image.width} x {image.height} pixels, more than {MAX_PIXELS}")
        kind = image.format
        image.load()
    except UnidentifiedImageError:
        raise BadTexture("is no image that can be read") from None
    except Image.DecompressionBombError as error:
        raise BadTexture(str(error)) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError) as error:
        if isinstance(error, BadTexture):
            raise
        # What Pillow's decoders raise on damaged files.
        raise BadTexture(f"cannot be decoded: {error}") from None
    return kind, image


class TextureShelf:
    """The textures of one model: each reference is looked up and decoded once, and every trouble is a warning of the model."""

    def __init__(self, path: Path, model: SourceModel) -> None:
        self.references = References(path)
        self._model = model
        self._made: dict[tuple[str, str | None], Texture | None] = {}
        self._alphas: dict[bytes, _Alpha] = {}

    def surface(self, made: Material, opacity: float, blended: bool = True, whole: float | None = None) -> Material:
        """Return a see-through material as one of surfaces: cut-outs are holes, glass is opaque, what nobody sees is hidden.

        `opacity` multiplies the texture's alpha, which counts if `blended`. `whole`: the cutoff of a texture without holes.
        """
        alpha = _Alpha(1.0, False, False)
        if made.base_texture is not None and blended:
            data = made.base_texture.data
            alpha = self._alphas[data] = self._alphas.get(data) or _alpha(data)
        seen = opacity * alpha.top
        if seen < _CLEAR:
            return replace(made, hidden=True)
        if alpha.glass or opacity < 0.99:
            said = f"{seen:.2f} opaque" if opacity < 0.99 else "partly transparent"
            self._model.warn(
                "transparency_dropped", f"material {made.name} is {said}; shown opaque, as the annotation is of surfaces"
            )
        cutoff = _NEARLY_CLEAR if alpha.glass else 0.5
        return replace(made, cutoff=cutoff if alpha.holes or (alpha.glass and opacity >= 0.99) else whole)

    def by_reference(self, reference: str, unescape: bool = True, opacity: str | None = None) -> Texture | None:
        """Return the texture a file names, or None with a warning."""
        made = self._made
        if (reference, opacity) not in made:
            data = self._read(reference, unescape)
            mask = self._read(opacity, unescape) if opacity is not None else None
            made[reference, opacity] = None if data is None else self.from_bytes(data, reference, mask)
        return made[reference, opacity]

    def from_bytes(self, data: bytes, name: str, opacity: bytes | None = None) -> Texture | None:
        """Return the texture in `data`, or None with a warning that calls it `name`."""
        try:
            return texture(data, opacity)
        except BadTexture as error:
            self._model.warn("texture_unreadable", f"{clean(name)} {error}; shown without it")
            return None

    def _read(self, reference: str, unescape: bool) -> bytes | None:
        found = self.references.find(reference, unescape)
        if found.path is None:
            self._model.warn(found.reason, f"{clean(reference)}; shown without it")
            return None
        if found.reason:
            self._model.warn(found.reason, f"{clean(reference)} was found as {clean(found.path.name)} in the model's folder")
        if found.path.stat().st_size > MAX_BYTES:
            self._model.warn("texture_unreadable", f"{clean(reference)} has more than {MAX_BYTES} bytes; shown without it")
            return None
        return found.path.read_bytes()
