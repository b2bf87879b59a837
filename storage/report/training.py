"""The page of a training: how its losses went, and what it could do at each look.

Enters: points of the loss curves, sheets of samples (PNG files named `<stage>-<step>.png`, prompts inside). Leaves: one
self-contained HTML file in the style of a run's report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from storage.folders import write_whole
from storage.images import from_png, png_text, to_png
from storage.report import plots
from storage.report.content import Thumbnail
from storage.report.page import duration, environment, frame, save
from storage.report.thumbnails import photograph

SHEETS = 10
"""Sheets of a stage that the page shows: the last, and others evenly spread before it."""
PROMPTS = "prompts"
"""Name of the text inside a sheet's PNG."""


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    """One stage of a training."""

    name: str
    step: int
    seconds: float
    loss: float
    curve: Markup
    sheets: list[tuple[int, Thumbnail, list[str]]]
    """(step, picture, prompts), the latest first."""

    @property
    def time(self) -> str:
        """How long it was trained."""
        return duration(self.seconds)


def sheet_path(folder: Path, stage: str, step: int) -> Path:
    """Return where the sheet of a stage at a step is."""
    return folder / f"{stage}-{step:08d}.png"


def write_sheet(picture: Any, prompts: Sequence[str], path: Path) -> Path:
    """Write one sheet's PNG, its prompts inside; return its path."""
    write_whole(path, to_png(picture, {PROMPTS: json.dumps(list(prompts))}))
    return path


def write(history: Sequence[Mapping[str, Any]], sheets: Path, out: Path, title: str) -> Path:
    """Write the page of a training to the file `out` and return it.

    `history`: stage, step, seconds and loss of each point, in order. `sheets`: folder of what `write_sheet` wrote.
    """
    stages = []
    for name in dict.fromkeys(str(point["stage"]) for point in history):
        points = [point for point in history if point["stage"] == name]
        last = points[-1]
        curve = plots.loss_curve([(point["seconds"] / 60, point["loss"]) for point in points], name)
        shown = [_sheet(path) for path in _spread(sorted(sheets.glob(f"{name}-*.png")))]
        stages.append(
            TrainedStage(
                name=name, step=last["step"], seconds=last["seconds"], loss=last["loss"], curve=curve, sheets=shown[::-1]
            )
        )
    return save(out, environment().get_template("training.html").render(stages=stages, title=title, **frame()))


def _spread(paths: Sequence[Path]) -> list[Path]:
    if len(paths) <= SHEETS:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (SHEETS - 1))] for i in range(SHEETS)]


def _sheet(path: Path) -> tuple[int, Thumbnail, list[str]]:
    data = path.read_bytes()
    prompts = json.loads(png_text(data).get(PROMPTS, "[]"))
    picture: Any = from_png(data)
    return int(path.stem.rsplit("-", 1)[1]), photograph(picture, size=max(picture.shape[:2])), prompts
