"""The sweep as a picture: shape, text and diversity over control scale, a line for each guidance, the chosen setting ringed.

Enters: the sweep's rows. Leaves: a small PNG.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.evaluation.sweep import agreement, obedience

PANELS: tuple[tuple[str, str | Callable[[Mapping[str, Any]], float]], ...] = (
    ("shape: edge F1", "edge_f1"),
    ("shape: pose read, Acc@30", "pose"),
    ("text: colour, scene, light", agreement),
    ("what it is: class read", "class"),
    ("diversity: grey levels", "diversity"),
    ("chosen by: mean of shape and text", obedience),
)
"""Titles, and a row's figure or what is made of it."""


def plot(rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], ceiling: Mapping[str, Any]) -> bytes:
    """Return the PNG; `ceiling` holds what renders of the same views reach."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    guidances = sorted({row["guidance"] for row in rows})
    colours = pyplot.get_cmap("viridis")
    figure, axes = pyplot.subplots(2, 3, figsize=(9, 5.2), dpi=80, sharex=True)
    for axis, (title, what) in zip(axes.flat, PANELS, strict=True):
        for index, guidance in enumerate(guidances):
            line = sorted((row for row in rows if row["guidance"] == guidance), key=lambda row: float(row["control_scale"]))
            points = [(row["control_scale"], _value(row, what)) for row in line if _value(row, what) is not None]
            colour = colours(0.85 * index / max(1, len(guidances) - 1))
            axis.plot(*zip(*points), "o-", ms=3.5, lw=1.3, color=colour, label=f"guidance {guidance:g}")
        if _value(chosen, what) is not None:
            axis.plot(chosen["control_scale"], _value(chosen, what), "o", ms=10, mfc="none", mec="crimson", mew=1.6)
        most = _value(ceiling, what)
        if most is not None:
            axis.axhline(most, color="grey", lw=0.9, ls="--")
            axis.text(0.02, most, "renders", color="grey", fontsize=7, va="bottom", transform=axis.get_yaxis_transform())
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("control scale", fontsize=8)
    axes[0, 0].legend(fontsize=6.5)
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return out.getvalue()


def _value(row: Mapping[str, Any], what: str | Callable[[Mapping[str, Any]], float]) -> float | None:
    return row.get(what) if isinstance(what, str) else what(row)
