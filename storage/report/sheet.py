"""Picture strips as PNG: render, controls, image and verdict side by side, for the README, Prefect's artifacts and `--preview`.

Enters: what was collected about a run. Leaves: one PNG with a few of its samples, from several CAD models and sides.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.images import to_png
from storage.report.content import Annotation, Report, ReportSample, Status, Thumbnail
from storage.report.verdict import in_words

Pixels = NDArray[np.uint8]

_PAPER, _STAGE, _INK, _SOFT = (255, 255, 255), (228, 232, 238), (20, 24, 31), (106, 116, 130)
_COLOURS: dict[Status, tuple[int, int, int]] = {
    "kept": (18, 133, 95), "dropped": (217, 72, 15), "failed": (180, 35, 58), "unjudged": (107, 118, 134),
}  # fmt: skip
_BOX = (25, 195, 255)
_EDGES = ((0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_FRONT = ((0, 1), (1, 5), (5, 4), (4, 0))


@dataclass(frozen=True, kw_only=True)
class SheetStyle:
    """How a sheet looks."""

    tile: int = 192
    """Side of a picture in pixels."""
    columns: int = 2
    """Samples beside each other; each is as many pictures wide as it has controls, and two more."""
    text: bool = True
    """Whether verdict, pose and scores stand below, and kinds in the controls."""
    boxes: bool = False
    """Whether the projected 3D box is drawn over render and image."""

    def __post_init__(self) -> None:
        if self.tile < 16 or self.columns < 1:
            raise ValueError(f"a sheet needs tiles of at least 16 px and a column, not {self.tile} px and {self.columns} columns")


def write_sheet(report: Report, out: Path, samples: int = 8, style: SheetStyle | None = None) -> Path:
    """Write the PNG sheet of a run to the file `out`; return `out`.

    It is drawn from the pictures that the report carries. Raises ValueError for a run without pictures.
    """
    png = to_png(sheet(choose(report, samples), style, [rule.score for rule in report.rules]))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_bytes(png)
    temporary.replace(out)
    return out


def choose(report: Report, samples: int) -> list[ReportSample]:
    """Return so many samples with pictures: kept ones from different sides and CAD models, and one dropped if there is one."""
    dropped = [sample for sample in report.of("dropped") if sample.image][: samples > 2]
    chosen = report.varied(samples - len(dropped)) + dropped
    return chosen or [sample for sample in report.samples if sample.render][:samples]


def sheet(samples: Sequence[ReportSample], style: SheetStyle | None = None, scores: Sequence[str] = ()) -> Pixels:
    """Return the sheet as an (H, W, 3) RGB picture. `scores`: names of those it tells. Raises ValueError without a sample."""
    style = style or SheetStyle()
    if not samples:
        raise ValueError("there is no picture to show yet: the run has made none")
    kinds = max(len(sample.controls) for sample in samples) or 1
    strips = [_strip(sample, style, kinds, tuple(dict.fromkeys(scores))) for sample in samples]
    height, width = strips[0].shape[:2]
    gap, margin = max(8, style.tile // 12), max(8, style.tile // 12)
    columns = min(style.columns, len(strips))
    rows = -(-len(strips) // columns)
    page = np.full((rows * (height + gap) - gap + 2 * margin, columns * (width + gap) - gap + 2 * margin, 3), 255, np.uint8)
    for i, strip in enumerate(strips):
        top, left = margin + (i // columns) * (height + gap), margin + (i % columns) * (width + gap)
        page[top : top + height, left : left + width] = strip
    return page


def data_uri(picture: Pixels) -> str:
    """Return a picture as a PNG data URI, for Markdown in the Prefect UI."""
    return f"data:image/png;base64,{base64.b64encode(to_png(picture)).decode()}"


def _strip(sample: ReportSample, style: SheetStyle, kinds: int, scores: Sequence[str]) -> Pixels:
    side, seam = style.tile, 2
    line = max(18, side // 9) if style.text else 0
    controls = [*sample.controls, *[("", None)] * kinds][:kinds]
    strip = np.full((side + line, (2 + kinds) * (side + seam) - seam, 3), 255, np.uint8)
    for i, thumbnail in enumerate((sample.render, *(drawn for _, drawn in controls), sample.image)):
        tile = _tile(thumbnail, side)
        if style.boxes and i in (0, kinds + 1) and sample.annotation is not None and thumbnail is not None:
            _draw_box(tile, sample.annotation)
        if style.text and 0 < i <= kinds and thumbnail is not None:
            _name(tile, controls[i - 1][0])
        strip[:side, i * (side + seam) : i * (side + seam) + side] = tile
    if style.text:
        strip[side:] = _words(sample, strip.shape[1], line, scores)
    return strip


def _name(tile: Pixels, kind: str) -> None:
    """Write a control's kind into the corner of its picture."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(10.0, tile.shape[0] * 0.06)
    picture = Image.fromarray(tile)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    box = draw.textbbox((size * 0.5, tile.shape[0] - size * 0.5), kind, font=font, anchor="lb")
    draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), fill=_INK)
    draw.text((size * 0.5, tile.shape[0] - size * 0.5), kind, fill=_STAGE, font=font, anchor="lb")
    tile[:] = np.asarray(picture, dtype=np.uint8)


def _tile(thumbnail: Thumbnail | None, side: int) -> Pixels:
    if thumbnail is None:
        return np.full((side, side, 3), _STAGE, np.uint8)
    data = np.frombuffer(base64.b64decode(thumbnail.uri.split(",", 1)[1]), np.uint8)
    picture: NDArray[Any] = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    elif picture.shape[2] == 4:
        alpha = picture[..., 3:].astype(np.float32) / 255
        picture = (picture[..., 2::-1] * alpha + np.array(_STAGE, np.float32) * (1 - alpha)).astype(np.uint8)
    else:
        picture = picture[..., ::-1]
    how = cv2.INTER_AREA if picture.shape[0] >= side else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=how), dtype=np.uint8)


def _draw_box(tile: Pixels, annotation: Annotation) -> None:
    if annotation.box3d is None or len(annotation.box3d) != 8:
        return
    scale = tile.shape[1] / annotation.width
    points = [(int(((x + 0.5) * scale - 0.5) * 16), int(((y + 0.5) * scale - 0.5) * 16)) for x, y in annotation.box3d]
    front = tile.copy()
    cv2.fillPoly(front, [np.array([points[i] for i in (0, 1, 5, 4)], np.int32)], _BOX, lineType=cv2.LINE_AA, shift=4)
    cv2.addWeighted(front, 0.22, tile, 0.78, 0, dst=tile)
    for a, b in _EDGES:
        thick = 2 if tile.shape[0] >= 256 and ((a, b) in _FRONT or (b, a) in _FRONT) else 1
        cv2.line(tile, points[a], points[b], _BOX, thick, lineType=cv2.LINE_AA, shift=4)


def _words(sample: ReportSample, width: int, height: int, scores: Sequence[str]) -> Pixels:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    size = height * 0.62
    font = ImageFont.load_default(size)
    verdict = in_words(sample.reason if sample.status in ("failed", "dropped") and sample.reason else sample.status)
    middle = height * 0.56
    draw.text((1, middle), verdict, fill=_COLOURS[sample.status], font=font, anchor="lm")
    at = draw.textlength(verdict, font=font) + size * 0.8
    facts = []
    if sample.azimuth_deg is not None and sample.elevation_deg is not None:
        facts.append(f"azimuth {sample.azimuth_deg:.0f}°  elevation {sample.elevation_deg:.0f}°")
    facts += [f"{name} {sample.scores[name]:.2f}" for name in scores if name in sample.scores]
    draw.text((at, middle), "   ".join(facts), fill=_SOFT, font=font, anchor="lm")
    return np.asarray(picture, dtype=np.uint8)
