"""The benchmark as pictures: a field for each kind of failure and filter, and what filters cost against what they lose.

Enters: figures. Leaves: PNGs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.evaluation.filters import planted
from models.evaluation.filters.card import WORDS, costs


def kinds(figures: Mapping[str, Any]) -> bytes:
    """Return the PNG of the AUROC of each filter for each kind of failure, chance in white."""
    pyplot = _pyplot()
    rows = figures["rows"]
    names = [kind for kind in WORDS if any(kind in row["by_kind"] for row in rows.values())]
    values = np.array([[row["by_kind"].get(kind, {}).get("auroc") for row in rows.values()] for kind in names], float)
    figure, axis = pyplot.subplots(figsize=(3.4 + 0.75 * len(rows), 1.4 + 0.32 * len(names)), dpi=90)
    axis.imshow(values, vmin=0.0, vmax=1.0, cmap="RdBu", aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        said = "-" if np.isnan(value) else f"{value:.2f}"
        axis.text(x, y, said, ha="center", va="center", fontsize=8, color="white" if abs(value - 0.5) > 0.35 else "black")
    axis.set_xticks(range(len(rows)), list(rows), rotation=35, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), [WORDS[name] + (" *" if name in planted.EDGES_KEPT else "") for name in names], fontsize=8)
    axis.set_title("AUROC by kind of failure (* the edges are right)", fontsize=9)
    return _png(pyplot, figure)


def cost(figures: Mapping[str, Any]) -> bytes:
    """Return the PNG of the share of good images lost at 90 % of failures removed, over the seconds of a set."""
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(6.4, 4.2), dpi=90)
    for name, (seconds, lost) in costs(figures).items():
        axis.plot(max(seconds, 0.05), lost, "o", ms=6, color="crimson" if name == "ensemble" else "steelblue")
        axis.annotate(name, (max(seconds, 0.05), lost), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.set_ylim(-0.02, 1.02)
    axis.margins(x=0.4)
    axis.set_xlabel("processor seconds of a set, teaching included", fontsize=8)
    axis.set_ylabel("good images lost at 90 % of failures removed", fontsize=8)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=8)
    return _png(pyplot, figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _png(pyplot: Any, figure: Any) -> bytes:
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return out.getvalue()
