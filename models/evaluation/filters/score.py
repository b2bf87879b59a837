"""What a filter is worth: how well its scores tell images that failed from sound ones. Needs numpy, nothing else.

As a program, in a folder of the benchmark:

    python score.py truth.csv scores.csv

scores.csv has the columns set, image and score, high where an image is suspect; an image without a score was not judged, and so
kept. Within each set, a score counts by the share of the sound images that look less suspect, so that scores of several classes
can be put together.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figures = dict[str, float]
Image = Mapping[str, str]
"""An image of the truth: set, class, part, image, name, viewpoint, failure (what was planted, `own`, or `doubtful`)."""

KEPT = 0.90
"""Share of the sound images that is to be kept where precision is asked for."""
REMOVED = 0.90
"""Share of the failures that is to be removed where the loss of sound images is asked for."""
NAMES = ("auroc", "average_precision", "precision_at_90_kept", "lost_at_90_removed")
"""Figures beside `judged`."""
NOT_PLANTED = ("", "own", "doubtful")
SYSTEMATIC = "systematic"
"""The sets in which whole CAD models fail alike."""


def figures(suspect: Floats, failed: NDArray[np.bool_]) -> Figures:
    """Return how well `suspect` (N,), high where an image is suspect and NaN where it was not judged, finds the failed ones.

    auroc, average_precision: of the failures, over all thresholds. precision_at_90_kept: share of failures among what is
    dropped by the lowest threshold that keeps 90 % of the sound images. lost_at_90_removed: share of the sound images that is
    dropped by the highest threshold that removes 90 % of the failures. judged: share that has a score. NaN where there are no
    failures or nothing else.
    """
    judged = ~np.isnan(suspect)
    made: Figures = {"judged": float(judged.mean()) if len(judged) else float("nan")}
    if failed.all() or not failed.any():
        return made | dict.fromkeys(NAMES, float("nan"))
    filled = _filled(suspect)
    good, bad = filled[~failed], filled[failed]
    keeps = np.sort(good)[max(0, int(np.ceil(KEPT * len(good))) - 1)]
    dropped = filled > keeps
    removes = np.sort(bad)[len(bad) - int(np.ceil(REMOVED * len(bad)))]
    values = (
        auroc(filled, failed),
        average_precision(filled, failed),
        float(failed[dropped].mean()) if dropped.any() else float("nan"),
        float((good >= removes).mean()),
    )
    return made | dict(zip(NAMES, values, strict=True))


def auroc(suspect: Floats, failed: NDArray[np.bool_]) -> float:
    """Return how often a failure is more suspect than a sound image; a tie is half."""
    _, place, counts = np.unique(suspect, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place.reshape(-1)]
    bad = int(failed.sum())
    return float((ranks[failed].sum() - bad * (bad + 1) / 2.0) / (bad * (len(failed) - bad)))


def average_precision(suspect: Floats, failed: NDArray[np.bool_]) -> float:
    """Return the mean precision over the failures, from the most suspect image down; ties count together."""
    order = np.argsort(-suspect, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(suspect[order])), len(order) - 1]
    found = np.cumsum(failed[order])[ends]
    steps = np.diff(np.r_[0, found])
    return float((steps * found / (ends + 1)).sum() / failed.sum())


def _filled(suspect: Floats) -> Floats:
    """Return the scores with what was not judged below all others: it is the last to be dropped."""
    judged = ~np.isnan(suspect)
    lowest = float(suspect[judged].min()) - 1.0 if judged.any() else 0.0
    return np.where(judged, suspect, lowest)


def on_one_scale(images: Sequence[Image], suspect: Floats) -> Floats:
    """Return for each image the share of its set's sound images that are less suspect, a tie counting half; NaN as before."""
    made = np.full(len(images), np.nan)
    sets = np.array([image["set"] for image in images])
    sound = np.array([image["failure"] == "" for image in images])
    for name in np.unique(sets):
        inside = sets == name
        good = np.sort(suspect[inside & sound & ~np.isnan(suspect)])
        rows = np.flatnonzero(inside & ~np.isnan(suspect))
        if len(good):
            below = np.searchsorted(good, suspect[rows], "left") + np.searchsorted(good, suspect[rows], "right")
            made[rows] = below / (2.0 * len(good))
        else:
            made[rows] = 0.5
    return made


def measure(images: Sequence[Image], suspect: Floats, draws: int = 200) -> dict[str, object]:
    """Return all figures of one filter: over what was planted into single images, and by kind, viewpoint, class and share.

    `interval`: of the AUROC, 95 % over bootstrap draws of the images. `by_kind` has the whole CAD models too, and `own`, what the
    generator failed at by itself. Of doubtful images nothing is asked.
    """
    scale = on_one_scale(images, suspect)
    failures = np.array([image["failure"] for image in images])
    parts = np.array([image["part"] for image in images])
    single, sound = parts != SYSTEMATIC, failures == ""
    planted = ~np.isin(failures, NOT_PLANTED)

    def of(rows: NDArray[np.bool_]) -> dict[str, object]:
        return _told(scale[rows], ~sound[rows], draws)

    def by(field: str) -> dict[str, object]:
        values = np.array([image[field] for image in images])
        return {str(value): of(single & (sound | planted) & (values == value)) for value in np.unique(values[single])}

    kinds = sorted(set(failures[planted].tolist()))
    by_kind = {kind: of((sound & (single == bool(single[failures == kind].any()))) | (failures == kind)) for kind in kinds}
    if (failures == "own").any():
        by_kind["own"] = of(single & (sound | (failures == "own")))
    made: dict[str, object] = {"all": of(single & (sound | planted)), "by_kind": by_kind}
    made |= {"by_viewpoint": by("viewpoint"), "by_class": by("class"), "by_share": by("part")}
    if not single.all():
        made[SYSTEMATIC] = of(~single & (sound | planted))
    return made


def _told(suspect: Floats, failed: NDArray[np.bool_], draws: int) -> dict[str, object]:
    made: dict[str, object] = {"images": len(failed), "failures": int(failed.sum()), **figures(suspect, failed)}
    if draws and failed.any() and not failed.all():
        filled = _filled(suspect)
        made["interval"] = drawn_again(lambda rows: _auroc_or_nan(filled[rows], failed[rows]), len(failed), 0, draws)
    return made


def _auroc_or_nan(suspect: Floats, failed: NDArray[np.bool_]) -> float:
    return float("nan") if failed.all() or not failed.any() else auroc(suspect, failed)


def drawn_again(measured: Callable[[NDArray[np.int64]], float], count: int, seed: int, times: int = 200) -> tuple[float, float]:
    """Return the 95 % interval of a figure over bootstrap draws: `measured` gets the indices of each (Efron 1979)."""
    rng = np.random.default_rng(seed)
    found = [measured(rng.integers(0, count, count)) for _ in range(times)]
    if np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def main(truth: str, scores: str) -> None:
    """Print the figures of a file of scores as JSON."""
    with open(truth, newline="") as file:
        images = list(csv.DictReader(file))
    place = {(image["set"], image["image"]): index for index, image in enumerate(images)}
    suspect = np.full(len(images), np.nan)
    with open(scores, newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            where = (row.get("set") or "", row.get("image") or "")
            if where not in place:
                sys.exit(f"{scores}, line {line}: no image {where[1]!r} in set {where[0]!r}; the columns are set, image, score")
            if row.get("score"):
                suspect[place[where]] = float(row["score"])
    print(json.dumps(measure(images, suspect), indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python score.py truth.csv scores.csv")
    main(sys.argv[1], sys.argv[2])
