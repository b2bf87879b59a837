"""A page of pictures for a person's eyes: render, edges, image, image with the control off, and the prompt below.

Enters: cases and their pictures. Leaves: a JPEG.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.cases import Case

CAPTION = 57
"""Pixels for the prompt below each column."""


def sheet(
    cases: Sequence[Case],
    on: Sequence[NDArray[np.uint8]],
    off: Sequence[NDArray[np.uint8]],
    columns: int = 12,
    most: int = 24,
) -> bytes:
    """Return a page of at most `most` cases, one column each; `off` may be shorter or empty."""
    from PIL import Image, ImageDraw

    shown = min(len(cases), most)
    side = cases[0].edges.shape[0]
    tall = (4 if off else 3) * side + CAPTION
    rows = -(-shown // columns)
    page = Image.new("RGB", (min(shown, columns) * side, rows * tall), "white")
    draw = ImageDraw.Draw(page)
    for index in range(shown):
        x, y = index % columns * side, index // columns * tall
        case = cases[index]
        column = [case.rgb, np.repeat(case.edges[..., None], 3, axis=2), on[index]]
        if off:
            column.append(off[index] if index < len(off) else np.full_like(case.rgb, 255))
        for step, picture in enumerate(column):
            page.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y + step * side))
        lines = textwrap.wrap(case.prompt, 26)[:5]
        draw.multiline_text((x + 2, y + tall - CAPTION + 1), "\n".join(lines), fill="black", font_size=9, spacing=1)
    out = io.BytesIO()
    page.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()
