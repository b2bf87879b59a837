"""Pages of pictures for a person's eyes: render, edges, image, image with the control off, and the prompt below; or the images
alone, drawn by lot, for somebody who is to say what they show.

Enters: cases and their pictures. Leaves: a JPEG.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.cases import Case

LOOKED_AT = 48
"""Pictures that a person is shown."""
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


def drawn(cases: Sequence[Case]) -> list[int]:
    """Return which pictures a person is shown: LOOKED_AT of them, by a lot that is always the same."""
    return [int(index) for index in np.random.default_rng(LOOKED_AT).permutation(len(cases))[:LOOKED_AT]]


def look(pictures: Sequence[NDArray[np.uint8]], columns: int = 12) -> bytes:
    """Return a page of pictures with their numbers and nothing else."""
    from PIL import Image, ImageDraw

    side, gap = pictures[0].shape[0], 12
    page = Image.new("RGB", (min(len(pictures), columns) * side, -(-len(pictures) // columns) * (side + gap)), "white")
    draw = ImageDraw.Draw(page)
    for index, picture in enumerate(pictures):
        x, y = index % columns * side, index // columns * (side + gap)
        page.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y + gap))
        draw.text((x + 2, y + 1), str(index + 1), fill="black", font_size=9)
    out = io.BytesIO()
    page.save(out, "JPEG", quality=88, optimize=True)
    return out.getvalue()
